"""How much of each tissue a mask shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Area(NamedTuple):
    """The area of one tissue, or of background, in one mask."""

    pixels: int
    percent: float
    """Of all tissue pixels, uncertain ones included, 0 … 100; NaN for background and where a mask shows no tissue."""
    mm2: float
    """Square millimetres; NaN where the physical scale is not known."""


def tissue_areas(labels: NDArray[np.uint8], tissues: int, mpp: float | None = None) -> list[Area]:
    """Areas of the tissues 0 … C − 1, of background, and of uncertain places.

    Args:
        labels: H×W label map.
        tissues: number of tissues, C.
        mpp: µm/px of the label map.

    >>> tissue_areas(np.array([[0, 0, 1, 2]], dtype=np.uint8), 2, mpp=1000.0)[0]
    Area(pixels=2, percent=66.66666666666667, mm2=2.0)
    """
    pixels = np.bincount(labels.reshape(-1), minlength=tissues + 2)
    total = int(pixels.sum() - pixels[tissues])
    pixel_mm2 = float("nan") if mpp is None else (mpp / 1000) ** 2
    return [
        Area(int(count), 100 * int(count) / total if total and index != tissues else float("nan"), count * pixel_mm2)
        for index, count in enumerate(pixels.tolist())
    ]
