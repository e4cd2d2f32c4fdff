"""How much of a tissue lies within a distance of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.measures.part import NOTHING, Labels, Part

FARTHEST_UM = 2000.0
CELLS = 50
"""A distance is at least so many cells, if pixels are small enough."""
EDGE = 0.25
"""How far, in cells, the other tissue begins before the middle of its nearest cell: a half where its border runs along
the cells, next to nothing where it runs aslant and has many cells to choose from."""
COARSEST_UM = 8.0
"""Side of a cell, at most, however long the distance."""
AT_ONCE = 1 << 21
"""Pixels of the map that are measured at once, but for what lies within the distance around them."""


def cell_side(distance_um: float, mpp: float) -> int:
    """Pixels along the side of the cells on which a distance is measured: 1/50 of it, at most 8 µm, at least a pixel.

    >>> cell_side(100, 0.5), cell_side(10, 0.5), cell_side(1000, 0.25)
    (4, 1, 32)
    """
    return max(1, int(min(distance_um / CELLS, COARSEST_UM) / mpp))


def near_counts(
    raster: LabelRaster, part: Part, tissues: int, other: int, distance_um: float, mpp: float
) -> NDArray[np.float64]:
    """Pixels of each tissue in a part that lie within a distance of another tissue, C; those of cells that lie half
    within count in part.

    Distances are between the middles of cells (and see `EDGE`). A cell is of the other tissue if half of its pixels
    are. That tissue counts wherever it is on the map, outside of the part too. Memory is that of a strip of the map and
    of what lies within the distance around it.

    Args:
        raster: the map.
        part: of it.
        tissues: C; labels from C on are nobody's.
        other: index of the tissue from which the distance is.
        distance_um: above 0, at most 2000.
        mpp: µm per pixel of the map.
    """
    side = cell_side(distance_um, mpp)
    reach = distance_um / (mpp * side) + EDGE
    halo = int(np.ceil(reach)) + 1
    counts = np.zeros(tissues)
    first_row, last_row = part.top // side, -(-(part.top + part.height) // side)
    first, last = part.left // side, -(-(part.left + part.width) // side)
    left, right = max(0, first - halo), min(-(-raster.width // side), last + halo)
    step = max(1, AT_ONCE // (side**2 * max(1, right - left)), halo // 2)
    for row in range(first_row, last_row, step):
        end = min(row + step, last_row)
        above, below = max(0, row - halo), min(-(-raster.height // side), end + halo)
        place = (above * side, left * side, below * side, right * side)
        beside = _cell_counts(_padded(raster, None, *place), side, [other, NOTHING])
        held = 2 * beside[0] >= np.maximum(1, side**2 - beside[1])
        if not held.any():
            continue
        distances = distance_transform_edt(~held)[row - above : end - above, first - left : last - left]
        own = _padded(raster, part, row * side, first * side, end * side, last * side)
        counts += np.tensordot(_cell_counts(own, side, range(tissues)), np.clip(reach - distances + 0.5, 0, 1), axes=2)
    counts[other] = 0
    return counts


def _padded(raster: LabelRaster, part: Part | None, top: int, left: int, bottom: int, right: int) -> Labels:
    """A block of the map, or of a part of it, `NOTHING` beyond its far edges."""
    high, wide = min(bottom, raster.height) - top, min(right, raster.width) - left
    labels = part.read(raster, top, left, high, wide) if part else raster.read(top, left, high, wide)
    return np.pad(labels, ((0, bottom - top - high), (0, right - left - wide)), constant_values=NOTHING)


def _cell_counts(labels: Labels, side: int, wanted: Sequence[int]) -> NDArray[np.int64]:
    """Pixels of each wanted label in each cell, labels × rows × columns."""
    rows, columns = (length // side for length in labels.shape)
    cells = labels.reshape(rows, side, columns, side)
    return np.stack([np.count_nonzero(cells == label, axis=(1, 3)) for label in wanted])
