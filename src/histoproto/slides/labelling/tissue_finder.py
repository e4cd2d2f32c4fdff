"""Where on a slide there is tissue, seen from afar."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

THRESHOLDS = (12, 20)
"""Least and greatest threshold of colourfulness: neither glass alone nor tissue alone is split in two."""
GREEN_INK, BLUE_INK = 12, 48
"""Grey levels by which green or blue exceeds red in ink. In stained tissue green is lowest, and blue near to red."""
SPECK_UM2 = 4_000.0
HOLE_UM2 = 40_000.0
MARGIN_UM = 16.0
"""By which tissue is widened: its fine outline is found later, pixel by pixel."""


def find_tissue(image: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """Tissue of a slide seen at low resolution.

    Colourfulness (the largest minus the smallest of R, G and B) is split by Otsu's threshold; marks of green, blue and
    black pens do not count; small specks are dropped, small holes filled, and the rest is widened a little.

    Args:
        image: H×W×3 RGB, about 8 to 30 µm/px.
        mpp: its µm/px.

    Returns:
        H×W, true on tissue; nowhere on an empty slide.
    """
    smooth = ndimage.uniform_filter(image, (3, 3, 1)) if min(image.shape[:2]) >= 3 else image
    colourful = smooth.max(axis=2) - smooth.min(axis=2)
    red, green, blue = np.moveaxis(smooth.astype(np.int16), 2, 0)
    ink = (green - red >= GREEN_INK) | (blue - red >= BLUE_INK)
    colourful[ink] = 0
    tissue = colourful > np.clip(otsu(colourful[~ink]), *THRESHOLDS)
    tissue = ndimage.binary_closing(tissue, iterations=2) | tissue
    tissue = _without_small(tissue, min(SPECK_UM2 / mpp**2, 0.5 * tissue.size))
    holes = ndimage.binary_fill_holes(tissue) & ~tissue
    tissue |= holes & ~_without_small(holes, HOLE_UM2 / mpp**2)
    tissue &= ~ndimage.binary_dilation(ink)
    radius = ceil(MARGIN_UM / mpp)
    return np.asarray(ndimage.binary_dilation(tissue, iterations=radius))


def otsu(values: NDArray[np.uint8]) -> int:
    """Otsu's threshold (IEEE Trans. SMC 1979): values up to it and above it are the two most different groups.

    >>> otsu(np.array([10, 11, 12, 200, 210], dtype=np.uint8))
    12
    """
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    below, sums = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        between = (sums * above - (sums[-1] - sums) * below) ** 2 / (below * above)
    return int(np.argmax(np.nan_to_num(between, posinf=0.0)))


def _without_small(mask: NDArray[np.bool_], pixels: float) -> NDArray[np.bool_]:
    """The mask without its connected parts of fewer pixels."""
    parts, _ = ndimage.label(mask)
    large = np.bincount(parts.ravel()) >= pixels
    large[0] = False
    return np.asarray(large[parts])
