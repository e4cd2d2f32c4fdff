"""Whether chances are right as often as they say, and whether errors are where there is doubt."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Of equal width, for the expected calibration error (Guo et al., ICML 2017)."""
STEPS = 1000
"""In which doubt is counted."""


class Reliability:
    """Counts of pixels by the chance of their label, right and wrong; memory is that of the counts."""

    def __init__(self) -> None:
        self._counts = np.zeros((STEPS + 1, 2), np.int64)
        self._sums = np.zeros(STEPS + 1)

    def add(self, doubt: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> None:
        """Pixels: one minus the chance of the label, in [0, 1], and whether the label is right; N each."""
        place = np.floor(doubt * STEPS).astype(np.intp).clip(0, STEPS)
        self._counts += np.bincount(2 * place + right, minlength=self._counts.size).reshape(self._counts.shape)
        self._sums += np.bincount(place, doubt, len(self._sums))

    def __add__(self, other: Reliability) -> Reliability:
        """Counts of the pixels of both."""
        both = Reliability()
        both._counts, both._sums = self._counts + other._counts, self._sums + other._sums
        return both

    def calibration_error(self) -> float:
        """Expected calibration error, in [0, 1]: how far off chances are, mean over pixels in bins of chance; NaN for
        none."""
        total = self._counts.sum()
        bins = np.minimum(np.arange(STEPS + 1) * BINS // STEPS, BINS - 1)
        wrong, doubt = (np.bincount(bins, each, BINS) for each in (self._counts[:, 0], self._sums))
        return float(np.abs(wrong - doubt).sum() / total) if total else float("nan")

    def errors_in_most_doubtful(self, part: float = 0.1) -> float:
        """Share of all errors that lies in the most doubtful part of the pixels, in [0, 1]; NaN without errors.

        Where pixels of equal doubt go over the edge of the part, their errors count in proportion.
        """
        pixels, wrong = self._counts.sum(axis=1)[::-1], self._counts[::-1, 0]
        if not wrong.sum():
            return float("nan")
        room = part * pixels.sum()
        before = np.cumsum(pixels) - pixels
        taken = np.clip((room - before) / np.maximum(pixels, 1), 0, 1)
        return float((taken * wrong).sum() / wrong.sum())

    def share_from(self, doubt: float) -> float:
        """Share of the pixels whose doubt is at least that, in [0, 1]; NaN for none."""
        total = self._counts.sum()
        return float(self._counts[round(doubt * STEPS) :].sum() / total) if total else float("nan")
