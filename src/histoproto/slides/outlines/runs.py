"""A label map as horizontal runs, and which of them hang together: connected components at the cost of the runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Runs:
    """The runs of one label in the rows of a block H×W, in reading order; R of them, in N components.

    Attributes:
        width: W.
        starts: R, first pixel of each run, counted through all rows (y·W + x).
        lengths: R, in pixels.
        labels: R, uint8.
        components: R, 0 … N − 1: runs of one label that touch along an edge (not at a corner) share theirs.
        count: N.
    """

    width: int
    starts: Indices
    lengths: Indices
    labels: NDArray[np.uint8]
    components: Indices
    count: int

    def at(self, pixels: Indices) -> Indices:
        """The run that each pixel (y·W + x) is in."""
        return np.searchsorted(self.starts, pixels, side="right") - 1

    def borders(self) -> tuple[Indices, Indices, Indices]:
        """Pairs of touching runs (first, second) and the length of their common edge in pixels."""
        above, below, length = _vertical(self.starts, self.lengths, self.width)
        following = np.flatnonzero(self.starts[1:] % self.width)
        return (
            np.concatenate([above, following]),
            np.concatenate([below, following + 1]),
            np.concatenate([length, np.ones(len(following), np.intp)]),
        )

    def paint(self, labels: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
        """The block H×W with other labels (R) for the runs."""
        return np.repeat(labels, self.lengths).reshape(height, self.width)


def connected_runs(block: NDArray[np.uint8]) -> Runs:
    """The runs of a label map H×W, and their components.

    >>> runs = connected_runs(np.array([[1, 1, 0], [0, 1, 0]], dtype=np.uint8))
    >>> runs.labels.tolist(), runs.lengths.tolist(), runs.components.tolist()
    ([1, 0, 0, 1, 0], [2, 1, 1, 1, 1], [0, 1, 2, 0, 1])
    """
    height, width = block.shape
    first = np.ones((height, width), dtype=np.bool_)
    np.not_equal(block[:, 1:], block[:, :-1], out=first[:, 1:])
    starts = np.flatnonzero(first)
    lengths = np.diff(starts, append=height * width)
    labels = block.reshape(-1)[starts]
    above, below, _ = _vertical(starts, lengths, width)
    same = labels[above] == labels[below]
    edges = coo_array((np.ones(same.sum(), np.bool_), (above[same], below[same])), shape=(len(starts), len(starts)))
    count, components = connected_components(edges, directed=False)
    return Runs(width, starts, lengths, labels, components.astype(np.intp), int(count))


def _vertical(starts: Indices, lengths: Indices, width: int) -> tuple[Indices, Indices, Indices]:
    """Runs that lie above one another, each pair once, and how many columns they share."""
    ends = starts + lengths
    # The common columns of two runs begin where one of the two does: look up from each, then down from each.
    lower = np.flatnonzero(starts >= width)
    upper = np.searchsorted(starts, starts[lower] - width, side="right") - 1
    high = np.flatnonzero(starts < ends[-1] - width)
    low = np.searchsorted(starts, starts[high] + width, side="right") - 1
    later = starts[low] != starts[high] + width  # those that begin together were found from below
    above, below = np.concatenate([upper, high[later]]), np.concatenate([lower, low[later]])
    begin = np.maximum(starts[above], starts[below] - width)
    return above, below, np.minimum(ends[above], ends[below] - width) - begin
