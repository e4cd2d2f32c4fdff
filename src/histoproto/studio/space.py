"""How tiles lie to each other: cosines of their embeddings, for how many others a tile stands, and what is kept of both
from one question to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARPNESS = 3
"""Power of the cosine in the likeness of two tiles."""
SAMPLE = 1000
"""Tiles that all others are compared with to see how typical they are, drawn at random."""
AT_ONCE = 256
"""Tiles that are compared with all others at once."""


class Space:
    """N tiles by their embeddings, N×D.

    Attributes:
        unit: the embeddings, each of length 1 (0 stays 0).
    """

    def __init__(self, embeddings: NDArray[np.floating]):
        found = np.asarray(embeddings, np.float32)
        self.unit = _unit(found)
        self._centred = _unit(self.unit - self.unit.mean(axis=0)) if len(found) else self.unit
        self._covered = np.zeros(len(found), np.bool_)
        self._nearest = np.zeros(len(found), np.float32)
        self._crowd = np.zeros(len(found), np.bool_), np.zeros(len(found), np.float32)
        self._typical: dict[tuple[bytes, int], NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return len(self.unit)

    def cosines(self, tile: int) -> NDArray[np.float32]:
        """N: of each tile with one."""
        return np.asarray(self.unit @ self.unit[tile])

    def nearest(self, done: NDArray[np.bool_]) -> NDArray[np.float32]:
        """N: the highest cosine of each tile to any that is done; 0 where none is, or where it is below."""
        covered, nearest = self._covered, self._nearest  # together: another thread may replace both
        if (covered & ~done).any():  # something was taken back
            covered, nearest = np.zeros_like(covered), np.zeros_like(nearest)
        new = self.unit[done & ~covered]
        for start in range(0, len(new), AT_ONCE):
            nearest = np.maximum(nearest, (new[start : start + AT_ONCE] @ self.unit.T).max(axis=0))
        self._covered, self._nearest = done.copy(), nearest
        return nearest

    def likeness(self, tile: int) -> NDArray[np.float32]:
        """N in [0, 1]: of each tile with one: the cosine, about the mean of all tiles, cut at 0 and sharpened."""
        return np.asarray(np.clip(self._centred @ self._centred[tile], 0, 1) ** SHARPNESS)

    def crowd(self, done: NDArray[np.bool_]) -> NDArray[np.float32]:
        """N: the sum of the likenesses of each tile with those that are done."""
        counted, crowd = self._crowd
        if (counted & ~done).any():
            counted, crowd = np.zeros_like(counted), np.zeros_like(crowd)
        crowd = crowd + self._sum(done & ~counted)
        self._crowd = done.copy(), crowd
        return crowd

    def typical(self, without: NDArray[np.bool_], seed: int) -> NDArray[np.float32]:
        """N: the mean likeness of each tile with all but those left out, N; the same for the same question."""
        key = np.packbits(without).tobytes(), seed
        kept = self._typical
        if key not in kept:
            some = np.zeros(len(self), np.bool_)
            some[np.random.default_rng(seed).permutation(np.flatnonzero(~without))[:SAMPLE]] = True
            kept = self._typical = {key: np.asarray(self._sum(some) / max(1, int(some.sum())), np.float32)}
        return kept[key]

    def _sum(self, some: NDArray[np.bool_]) -> NDArray[np.float32]:
        total, vectors = np.zeros(len(self), np.float32), self._centred[some]
        for start in range(0, len(vectors), AT_ONCE):
            cosines = self._centred @ vectors[start : start + AT_ONCE].T
            total += (np.clip(cosines, 0, 1) ** SHARPNESS).sum(axis=1)
        return total


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6), np.float32)
