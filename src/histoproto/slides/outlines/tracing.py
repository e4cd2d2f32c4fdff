"""From a label map to polygons: exact outlines of its regions, simplified so that neighbours keep a common border.

numpy walks along the cracks between pixels of different label, GEOS (through shapely) does the rest.
docs/decisions/outlines.md says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, depth_first_order

from histoproto.slides.ahead import read_ahead
from histoproto.slides.outlines.runs import Indices, Runs, connected_runs

Labels = NDArray[np.uint8]
Polygons = NDArray[np.object_]

LARGEST = 100_000
"""Corners after which a region that goes on is written in pieces, for the sake of memory and of the viewer."""
_NONE = np.empty(0, np.intp)
STRIP_PIXELS, STRIP_ROWS = 1 << 21, 32


def strip_rows(width: int) -> int:
    """Rows of a strip of 2 million pixels; 32 at least, for outlines keep a corner at every seam."""
    return max(STRIP_ROWS, STRIP_PIXELS // width)


def outlines(
    strips: Iterable[tuple[int, Labels]],
    background: int,
    tolerance: float = 0.0,
    largest: int = LARGEST,
    threads: int = 1,
) -> Iterator[tuple[shapely.Polygon, int]]:
    """The regions of a label map as (polygon, label), background left out, each as soon as it is complete.

    Memory is that of a few strips and of the regions that are not complete. Coordinates are corners of pixels: the
    pixel (y, x) covers x … x + 1, y … y + 1.

    Args:
        strips: (top, H×W block) from top to bottom without a gap.
        background: label without outlines.
        tolerance: in pixels, the square root of the area of the smallest triangle that is kept (Visvalingam-Whyatt);
            0: exact.
        largest: see `LARGEST`.
        threads: that trace strips.
    """

    def trace(strip: _Strip) -> tuple[_Strip, Runs, Labels, Polygons]:
        return strip, *_trace(strip, background, tolerance)

    regions: list[_Region] = []  # those that go on below the strip before
    region_above = _NONE  # which of them the row above belongs to, per column; −1: none
    for strip, runs, labels, polygons in read_ahead(trace, _with_neighbours(strips), threads):
        block = strip.block
        height, width = block.shape
        first, last = (runs.components[runs.at(np.arange(width) + y * width)] for y in (0, height - 1))
        linked = np.flatnonzero((region_above >= 0) & (strip.row_above[0] == block[0])) if regions else _NONE
        group, count = _join(region_above[linked], first[linked], len(regions), runs.count)
        joined = [_Region([], background) for _ in range(count)]
        for region, index in zip(regions, group, strict=False):
            joined[index].pieces += region.pieces
            joined[index].label = region.label
        for component in np.flatnonzero(labels != background):
            region = joined[group[len(regions) + component]]
            region.pieces.append(polygons[component])
            region.label = int(labels[component])
        group_below = group[len(regions) + last]
        goes_on = np.zeros(count, np.bool_)
        goes_on[group_below[block[-1] != background]] = len(strip.row_below) > 0
        for index in np.flatnonzero(goes_on):
            goes_on[index] = sum(shapely.get_num_coordinates(joined[index].pieces)) <= largest
        for index in np.flatnonzero(~goes_on):
            yield from joined[index].polygons()
        regions = [joined[index] for index in np.flatnonzero(goes_on)]
        region_above = np.where(goes_on, np.cumsum(goes_on) - 1, -1)[group_below]


class _Strip(NamedTuple):
    """A strip, and the rows above and below it (1×W, or 0×W where there is none)."""

    top: int
    block: Labels
    row_above: Labels
    row_below: Labels


@dataclass
class _Region:
    """The pieces of a region, one or more from each strip that it is in; a piece of background is none."""

    pieces: list[shapely.Polygon]
    label: int

    def polygons(self) -> Iterator[tuple[shapely.Polygon, int]]:
        whole = self.pieces if len(self.pieces) < 2 else [shapely.coverage_union_all(self.pieces)]
        for polygon in shapely.get_parts(whole):
            yield polygon, self.label


def _with_neighbours(strips: Iterable[tuple[int, Labels]]) -> Iterator[_Strip]:
    waiting: _Strip | None = None
    for top, block in strips:
        if waiting is not None:
            yield waiting._replace(row_below=block[:1])
        row_above = block[:0] if waiting is None else waiting.block[-1:]
        waiting = _Strip(top, block, row_above, block[:0])
    if waiting is not None:
        yield waiting


def _trace(strip: _Strip, background: int, tolerance: float) -> tuple[Runs, Labels, Polygons]:
    """The connected runs of a strip, and the label and the polygon of each component, at its place in the whole."""
    runs = connected_runs(strip.block)
    labels = np.empty(runs.count, np.uint8)
    labels[runs.components] = runs.labels
    polygons = _polygons(runs, strip.row_above, strip.row_below)
    if tolerance > 0:
        polygons = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    polygons[labels == background] = None
    return runs, labels, shapely.transform(polygons, lambda corners: corners + np.array([0, strip.top]))


def _join(regions: Indices, components: Indices, region_count: int, component_count: int) -> tuple[Indices, int]:
    """The group of each region, then of each component, and how many groups there are; pairs of both are linked."""
    nodes = region_count + component_count
    links = coo_array((np.ones(len(regions), np.bool_), (regions, components + region_count)), shape=(nodes, nodes))
    count, group = connected_components(links, directed=False)
    return group.astype(np.intp), int(count)


def _polygons(runs: Runs, row_above: Labels, row_below: Labels) -> Polygons:
    """The polygon of each component of a block, its outlines exactly along the pixels.

    There is a corner wherever three labels meet, those of the rows above and below (1×W, or empty) among them: polygons
    that touch have all corners of their common border in common.
    """
    corners, ring, component = _rings(runs, row_above, row_below)
    start = np.flatnonzero(np.diff(ring, prepend=-1))
    ahead = np.arange(1, len(ring) + 1)
    ahead[np.append(start[1:], len(ring)) - 1] = start
    hole = np.add.reduceat(corners[:, 0] * corners[ahead, 1] - corners[ahead, 0] * corners[:, 1], start) < 0
    order = np.lexsort((hole, component))  # the outer ring of each component first
    rings = shapely.linearrings(corners.astype(np.float64), indices=ring)
    polygons: Polygons = shapely.polygons(rings[order], indices=component[order])
    return polygons


def _rings(runs: Runs, row_above: Labels, row_below: Labels) -> tuple[Indices, Indices, Indices]:
    """Outlines of a block, outer and inner: corners (N×2: x, y), the ring of each corner, the component of each ring.

    An edge between two corners is walked once for the component on either side, which is on the right hand. Directions
    are 0 … 3 for right, down, left, up.
    """
    inside = np.repeat(runs.components.astype(np.int32), runs.lengths).reshape(-1, runs.width)
    padded = np.pad(inside, 1, constant_values=-1)
    quarters = padded[1:, 1:], padded[1:, :-1], padded[:-1, :-1], padded[:-1, 1:]  # at the right hand of each direction
    right, down, left, up = (quarter != quarters[i - 1] for i, quarter in enumerate(quarters))
    corner = (right != left) | (up != down) | (right & down)  # anything but a straight edge
    for place, row in ((0, row_above), (-1, row_below)):
        if len(row):
            corner[place, 1:-1] |= row[0, 1:] != row[0, :-1]
    y, x = np.nonzero(corner)  # of the N corners
    count, column_order = len(y), np.argsort(x, kind="stable")
    edge = np.stack([side[y, x] for side in (right, down, left, up)])
    beside = np.stack([quarter[y, x] for quarter in quarters])

    # An edge to the right ends at the next corner of the row, an edge down at the next one of the column.
    target = np.empty((4, count), np.intp)
    target[0], target[2] = np.arange(1, count + 1), np.arange(-1, count - 1)
    target[1, column_order], target[3, column_order] = np.roll(column_order, -1), np.roll(column_order, 1)
    way, begin = np.nonzero(edge & (beside >= 0))
    end, own = target[way, begin], beside[way, begin]
    # Turn right where possible, which keeps regions apart that touch at a corner. Where one region touches itself, turn
    # left: its outer ring then meets the ring of its hole in a point, and no ring meets itself.
    itself = edge[:, end].all(axis=0) & (beside[way - 1, end] == own)
    turn = np.where(edge[(way + 1) % 4, end] & ~itself, 1, np.where(edge[way, end] & ~itself, 0, -1))
    number = np.empty((4, count), np.intp)
    number[way, begin] = np.arange(len(way))
    following = number[(way + turn) % 4, end]

    # Rings are the cycles of `following`; opened and joined to one long path, they are put in order by walking it.
    size = len(following)
    bounds = np.arange(size + 1)
    _, ring = connected_components(csr_array((np.ones(size, np.bool_), following, bounds)), directed=False)
    first = np.unique(ring, return_index=True)[1]
    before = np.empty(size, np.intp)
    before[following] = np.arange(size)
    following[before[first]] = np.roll(first, -1)
    path = depth_first_order(csr_array((np.ones(size), following, bounds)), first[0], return_predecessors=False)
    return np.stack([x, y], axis=1)[begin[path]], ring[path].astype(np.intp), own[first].astype(np.intp)
