"""Blending the windows of a slide from top to bottom, a strip at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from histoproto.inference.windows import window_weights

Scores = NDArray[np.float32]


class Rows(NamedTuple):
    """Finished rows of a slide, in cells."""

    first: int
    last: int
    """Rows first … last − 1 are to be written."""
    top: int
    """The row at which `scores` begin: up to a halo above `first`."""
    scores: Scores
    """L×R×S, up to a halo beyond `last`; 0 where no window was."""
    covered: NDArray[np.bool_]
    """R×S, where there was one."""


class Strip:
    """Weighted sums of windows over the whole width of a slide; rows that no more window touches are handed out.

    At each cell the result is the sum of weight × score divided by the sum of the weights.

    Args:
        channels: maps of a window, L.
        height, width: of the slide in cells.
        size: side of a window in cells.
        step: rows between two calls of `finish`, at most.
        halo: rows above and below that go with the finished ones, for whatever looks beyond a cell.
    """

    def __init__(self, channels: int, height: int, width: int, size: int, step: int, halo: int) -> None:
        self.height, self.halo = height, halo
        self._size, self._weights = size, window_weights(size, size).numpy()
        self._sums = np.zeros((channels + 1, step + size + 2 * halo, width), dtype=np.float32)  # the last: of weights
        self._top = self._done = 0  # the row it begins at, and the one up to which all is handed out

    def add(self, tops: NDArray[np.intp], lefts: NDArray[np.intp], scores: Scores) -> None:
        """Add N windows, N×L×size×size, that start at these cells."""
        size, weighted = self._size, scores * self._weights
        for top, left, window in zip((tops - self._top).tolist(), lefts.tolist(), weighted, strict=True):
            self._sums[:-1, top : top + size, left : left + size] += window
            self._sums[-1, top : top + size, left : left + size] += self._weights

    def finish(self, end: int) -> Rows | None:
        """The rows that are final once all windows that start above row `end` are there; None if there are none yet."""
        last = self.height if end >= self.height else end - self.halo
        if last <= self._done:
            return None
        held = self._sums[:, : min(self.height, last + self.halo) - self._top]
        scores = held[:-1] / np.maximum(held[-1], np.finfo(np.float32).tiny)
        rows = Rows(self._done, last, self._top, scores, held[-1] > 0)
        above, self._top, self._done = self._top, max(0, last - self.halo), last
        moved = self._top - above
        self._sums[:, : -moved or None] = self._sums[:, moved:]
        self._sums[:, len(self._sums[0]) - moved :] = 0
        return rows
