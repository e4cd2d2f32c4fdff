"""Which pixels lie in a polygon: any number of polygons at once, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

Indices = NDArray[np.intp]

AT_ONCE = 1 << 22
"""Pixels that are painted at once; each takes sixteen bytes."""


class Spans(NamedTuple):
    """Pieces of rows that lie in polygons, sorted by polygon and row."""

    polygon: Indices
    """Index of the polygon."""
    row: Indices
    first: Indices
    last: Indices
    """Columns first … last − 1; never none."""


def polygon_spans(polygons: Sequence[shapely.Geometry], height: int, width: int, top: int = 0, left: int = 0) -> Spans:
    """The pixels of a window whose centre lies in each polygon. Pixel (y, x) covers x … x + 1, y … y + 1.

    Args:
        polygons: polygons and multipolygons, valid; what else there is counts for nothing.
        height, width, top, left: of the window, in the pixels that the coordinates count.
    """
    polygon, row, x = _crossings(polygons, height, top)
    column = np.clip(np.ceil(x - left - 0.5), 0, width).astype(np.intp)
    order = np.lexsort((column, row, polygon))
    polygon, row, column = polygon[order], row[order], column[order]
    # A row of pixel centres is inside between its first and second crossing of an outline, its third and fourth …
    first, last = column[::2], column[1::2]
    some = first < last
    return Spans(polygon[::2][some], row[::2][some], first[some], last[some])


def fill_polygons(
    polygons: Sequence[shapely.Geometry], height: int, width: int, top: int = 0, left: int = 0
) -> NDArray[np.bool_]:
    """The pixels (H×W) of a window whose centre lies in any of the polygons; arguments as in `polygon_spans`.

    >>> fill_polygons([shapely.box(1, 0, 3, 1)], 2, 4).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    spans = polygon_spans(polygons, height, width, top, left)
    begun, ended = (
        np.bincount(spans.row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
        for column in (spans.first, spans.last)
    )
    return np.asarray(np.cumsum(begun - ended, axis=1)[:, :-1] > 0)


def paint_polygons(
    labels: NDArray[np.uint8],
    polygons: Sequence[shapely.Geometry],
    values: NDArray[np.uint8],
    top: int = 0,
    left: int = 0,
) -> None:
    """Paint the value of each polygon into a window of labels (H×W), one after the other: the last one stays on top.

    >>> labels = np.zeros((1, 4), dtype=np.uint8)
    >>> paint_polygons(labels, [shapely.box(0, 0, 3, 1), shapely.box(1, 0, 2, 1)], np.array([5, 0], dtype=np.uint8))
    >>> labels.tolist()
    [[5, 0, 5, 0]]
    """
    height, width = labels.shape
    spans = polygon_spans(polygons, height, width, top, left)
    lengths = spans.last - spans.first
    cuts = np.flatnonzero(np.diff(np.cumsum(lengths) // AT_ONCE, prepend=0))
    flat = labels.reshape(-1)
    assert flat.base is not None, "a window that is not contiguous would be a copy"
    for part in np.split(np.arange(len(lengths)), cuts):
        long = lengths[part]
        start = (spans.row * width + spans.first)[part] - (np.cumsum(long) - long)
        # Where a pixel is named several times, numpy leaves the last value behind.
        flat[np.repeat(start, long) + np.arange(long.sum())] = np.repeat(values[spans.polygon[part]], long)


def count_labels(
    labels: NDArray[np.integer[Any]], count: int, polygons: Sequence[shapely.Geometry], top: int = 0, left: int = 0
) -> NDArray[np.int64]:
    """How many pixels of each label 0 … count − 1 of a window (H×W) lie in each polygon: polygons × labels."""
    height, width = labels.shape
    spans = polygon_spans(polygons, height, width, top, left)
    counts = np.zeros((len(polygons), count), dtype=np.int64)
    sums = np.zeros((height, width + 1), dtype=np.int32)
    for label in range(count):
        np.cumsum(labels == label, axis=1, dtype=np.int32, out=sums[:, 1:])
        found = sums[spans.row, spans.last] - sums[spans.row, spans.first]
        counts[:, label] = np.bincount(spans.polygon, found, minlength=len(polygons))  # exact up to 2^53
    return counts


def _crossings(
    polygons: Sequence[shapely.Geometry], height: int, top: int
) -> tuple[Indices, Indices, NDArray[np.float64]]:
    """Where edges cross the middle of the rows of a window: the index of the polygon, the row, and x."""
    parts, owner = shapely.get_parts(polygons, return_index=True)
    areas = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    rings, part = shapely.get_rings(parts[areas], return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    edge = np.flatnonzero(ring[1:] == ring[:-1])
    ends = np.minimum(points[edge, 1], points[edge + 1, 1]), np.maximum(points[edge, 1], points[edge + 1, 1])
    # Rows whose middle is at or below the upper end and above the lower end: each corner is counted once.
    first, last = (np.clip(np.ceil(y - top - 0.5), 0, height).astype(np.intp) for y in ends)
    crossed = first < last
    edge, first, rows = edge[crossed], first[crossed], (last - first)[crossed]
    (x0, y0), (x1, y1) = points[edge].T, points[edge + 1].T
    of = np.repeat(np.arange(len(edge)), rows)
    row = np.arange(len(of)) - np.repeat(np.cumsum(rows) - rows, rows) + first[of]
    x = x0[of] + (row + top + 0.5 - y0[of]) * (x1[of] - x0[of]) / (y1[of] - y0[of])
    return owner[areas][part[ring[edge]]][of].astype(np.intp), row, x
