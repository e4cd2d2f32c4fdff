"""How long the border between two tissues is, without the staircase of pixel edges.

Counting edges of pixels makes a diagonal border 41 % too long, whatever the resolution. Here lines are laid over the
map in eight directions, and how often they cross from one tissue to the other is counted: by the formula of Cauchy and
Crofton, the length of a curve is half the integral of the crossings over all lines, here a sum over the lines through
neighbouring pixel centres (Boykov & Kolmogorov, ICCV 2003).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]

DIRECTIONS = ((0, 1), (1, 2), (1, 1), (2, 1), (1, 0), (2, -1), (1, -1), (1, -2))
"""Steps in rows and columns from a pixel to the next on a line, by their angle from 0 to 180°."""
REACH = 2
"""Rows that a step goes down, at most."""


def direction_weights() -> NDArray[np.float64]:
    """Length in pixels that a crossing in each direction stands for: half its share of the half circle (in rad) times
    the distance of its lines, one over the length of its step.

    A straight border is found 1.8 % too short to 0.9 % too long, depending on its angle; the mean over all angles, and
    a circle, are right.
    """
    steps = np.array(DIRECTIONS, dtype=np.float64)
    angles = np.arctan2(steps[:, 0], steps[:, 1])
    gaps = np.diff(angles, append=angles[0] + np.pi)
    shares = (gaps + np.roll(gaps, 1)) / 2
    return np.asarray(shares / np.hypot(*steps.T) / 2)


class Interfaces:
    """Lengths of the interfaces of all pairs of tissues, of strips that come one after the other.

    Args:
        tissues: C; labels from C on have no interface with anything.
    """

    def __init__(self, tissues: int) -> None:
        self._tissues = tissues
        self._crossings = np.zeros((len(DIRECTIONS), tissues, tissues), dtype=np.int64)

    def add(self, block: Labels, rows: int) -> None:
        """Add the crossings that begin in the first `rows` rows of a block; it has up to `REACH` more, if there are."""
        tissues = self._tissues
        for found, (down, right) in zip(self._crossings, DIRECTIONS, strict=True):
            high = min(rows, len(block) - down)
            wide = block.shape[1] - abs(right)
            if high < 1 or wide < 1:
                continue
            first = block[:high, max(0, -right) :][:, :wide]
            second = block[down : down + high, max(0, right) :][:, :wide]
            crossed = first != second
            a, b = first[crossed], second[crossed]
            known = (a < tissues) & (b < tissues)
            pairs = a[known].astype(np.intp) * tissues + b[known]
            found += np.bincount(pairs, minlength=tissues**2).reshape(tissues, tissues)

    def lengths(self) -> NDArray[np.float64]:
        """C×C symmetric, in pixels; the diagonal is 0."""
        lengths = np.tensordot(direction_weights(), self._crossings, axes=1)
        return np.asarray(lengths + lengths.T)
