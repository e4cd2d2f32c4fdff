"""How many connected regions each tissue has, and how large they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from histoproto.slides.outlines.runs import Indices, connected_runs

Labels = NDArray[np.uint8]
_NONE = np.empty(0, np.intp)


class Components:
    """Sizes of connected regions, of strips that come one after the other; memory is that of a strip and the sizes.

    Regions hang together along edges of pixels, not at corners, as outlines do.

    Args:
        tissues: C; labels from C on make no regions.
    """

    def __init__(self, tissues: int) -> None:
        self._tissues = tissues
        self._closed: list[tuple[NDArray[np.uint8], NDArray[np.int64]]] = []
        self._labels, self._sizes = (
            np.empty(0, np.uint8),
            np.empty(0, np.int64),
        )  # those of the last row
        self._above = _NONE  # which of them, per column

    def add(self, block: Labels) -> None:
        """Add the rows that come next."""
        runs = connected_runs(block)
        count = len(self._sizes)
        labels = np.concatenate([self._labels, np.empty(runs.count, np.uint8)])
        labels[count + runs.components] = runs.labels
        sizes = np.concatenate([self._sizes, np.bincount(runs.components, runs.lengths, minlength=runs.count)])
        columns = np.arange(block.shape[1])
        first, last = (runs.components[runs.at(columns + y * block.shape[1])] for y in (0, len(block) - 1))
        group = _joined(self._above, first, labels, count)
        joined = np.empty(int(group.max()) + 1, np.uint8)
        joined[group] = labels
        sizes = np.bincount(group, sizes).astype(np.int64)  # exact up to 2^53
        open_, self._above = np.unique(group[count + last], return_inverse=True)
        closed = joined < self._tissues
        closed[open_] = False
        self._closed.append((joined[closed], sizes[closed]))
        self._labels, self._sizes = joined[open_], sizes[open_]

    def sizes(self) -> list[NDArray[np.int64]]:
        """Of each tissue the sizes of its regions in pixels, ascending."""
        found = [*self._closed, (self._labels, self._sizes)]
        labels, sizes = (np.concatenate(each) for each in zip(*found, strict=True))
        return [np.sort(sizes[labels == tissue]) for tissue in range(self._tissues)]


def _joined(above: Indices, first: Indices, labels: NDArray[np.uint8], count: int) -> Indices:
    """The number of the region that each of the `count` open ones, and of those of a strip, belongs to."""
    if len(above):
        same = labels[above] == labels[count + first]
        above, first = above[same], first[same]
    else:
        above = first = _NONE
    edges = coo_array((np.ones(len(above), np.bool_), (above, count + first)), shape=(len(labels), len(labels)))
    return np.asarray(connected_components(edges, directed=False)[1]).astype(np.intp)
