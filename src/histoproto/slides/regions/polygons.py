"""Which pixels lie in a polygon."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray


def fill_polygons(
    polygons: Sequence[shapely.Geometry], height: int, width: int, top: int = 0, left: int = 0
) -> NDArray[np.bool_]:
    """The pixels (H×W) of a window whose centre lies in any of the polygons. Pixel (y, x) covers x … x + 1, y … y + 1.

    Args:
        polygons: polygons and multipolygons, valid; what else there is counts for nothing.
        height, width, top, left: of the window, in the pixels that the coordinates count.

    >>> fill_polygons([shapely.box(1, 0, 3, 1)], 2, 4).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    filled = np.zeros((height, width), np.bool_)
    for polygon in polygons:
        if polygon.is_empty:
            continue
        x0, y0, x1, y1 = np.array(polygon.bounds) - (left, top, left, top)
        rows = slice(*np.clip([np.floor(y0), np.ceil(y1)], 0, height).astype(int).tolist())
        columns = slice(*np.clip([np.floor(x0), np.ceil(x1)], 0, width).astype(int).tolist())
        target = filled[rows, columns]
        if target.size == 0:
            continue
        # A row of pixel centres is inside between its first and second crossing of an outline, its third and fourth …
        row, x = _crossings(polygon, target.shape[0], top + rows.start)
        column = np.clip(np.ceil(x - left - columns.start - 0.5), 0, target.shape[1]).astype(np.intp)
        size = target.shape[0] * (target.shape[1] + 1)
        crossings = np.bincount(row * (target.shape[1] + 1) + column, minlength=size).reshape(target.shape[0], -1)
        target |= (np.cumsum(crossings, axis=1)[:, :-1] & 1).astype(np.bool_)
    return filled


def _crossings(polygon: shapely.Geometry, height: int, top: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where the edges cross the middle of the rows of a window: row and x."""
    parts = shapely.get_parts([polygon])
    rings = shapely.get_rings(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON])
    points, ring = shapely.get_coordinates(rings, return_index=True)
    edge = np.flatnonzero(ring[1:] == ring[:-1])
    (x0, y0), (x1, y1) = points[edge].T, points[edge + 1].T
    # Rows whose middle is at or below the upper end and above the lower end: each corner is counted once.
    first = np.clip(np.ceil(np.minimum(y0, y1) - top - 0.5), 0, height).astype(np.intp)
    last = np.clip(np.ceil(np.maximum(y0, y1) - top - 0.5), 0, height).astype(np.intp)
    rows = last - first
    of = np.repeat(np.arange(len(edge)), rows)
    row = np.arange(len(of)) - np.repeat(np.cumsum(rows) - rows, rows) + first[of]
    return row, x0[of] + (row + top + 0.5 - y0[of]) * (x1[of] - x0[of]) / (y1[of] - y0[of])
