"""Label maps of shapes with known measures, drawn by the middles of pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoproto.slides.labelling.raster import LabelRaster

Labels = NDArray[np.uint8]


def middles(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """y and x of the middles of pixels, which broadcast to height × width."""
    return np.arange(height)[:, None] + 0.5, np.arange(width)[None] + 0.5


def disc(height: int, width: int, y: float, x: float, radius: float) -> NDArray[np.bool_]:
    ys, xs = middles(height, width)
    return np.hypot(ys - y, xs - x) < radius


def half_plane(height: int, width: int, degrees: float) -> NDArray[np.bool_]:
    """What lies on one side of a straight line through the middle, at an angle to the rows."""
    ys, xs = middles(height, width)
    angle = np.radians(degrees)
    return (xs - width / 2) * np.sin(angle) - (ys - height / 2) * np.cos(angle) > 0


def raster_of(labels: Labels, folder: Path) -> LabelRaster:
    raster = LabelRaster.create(folder / "labels", *labels.shape)
    raster.write(0, 0, labels)
    return raster
