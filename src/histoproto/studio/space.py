"""How tiles lie to each other: cosines of their embeddings, clusters, and what is kept of both from one question to the
next."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

CLUSTERS = 24
SAMPLE = 1000
"""Tiles that clusters are made of, drawn at random; all others go to the nearest."""
AT_ONCE = 256
"""Tiles that are compared with all others at once."""


@dataclass(frozen=True)
class Clusters:
    """Of N tiles: the cluster of each (−1 for those that were left out), the distance to its middle, and how many."""

    of_tile: NDArray[np.intp]
    distance: NDArray[np.float64]
    count: int


class Space:
    """N tiles by their embeddings, N×D.

    Attributes:
        unit: the embeddings, each of length 1 (0 stays 0).
    """

    def __init__(self, embeddings: NDArray[np.floating]):
        found = np.asarray(embeddings, np.float32)
        self.unit = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)
        self._clusters: dict[tuple[bytes, int], Clusters] = {}
        self._covered = np.zeros(len(found), np.bool_)
        self._nearest = np.zeros(len(found), np.float32)

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

    def clusters(self, without: NDArray[np.bool_], seed: int) -> Clusters:
        """Clusters by k-means of the tiles but those left out, N; the same for the same question."""
        key = np.packbits(without).tobytes(), seed
        if key not in self._clusters:
            self._clusters = {key: self._cluster(without, seed)}
        return self._clusters[key]

    def _cluster(self, without: NDArray[np.bool_], seed: int) -> Clusters:
        members = np.flatnonzero(~without)
        drawn = np.random.default_rng(seed).permutation(members)[:SAMPLE]
        points = self.unit[np.sort(drawn)].astype(np.float64)
        count = min(CLUSTERS, len(np.unique(points.sum(axis=1).round(6))))  # equal tiles are one point
        with warnings.catch_warnings(action="ignore"):  # an empty cluster does no harm
            centres, _ = kmeans2(points, count, minit="++", seed=seed, iter=10)
        own = self.unit[members]
        apart = (centres**2).sum(axis=1) - 2 * (own @ centres.T.astype(np.float32))  # + |own|², the same for all
        of_tile, distance = np.full(len(self), -1, np.intp), np.full(len(self), np.inf)
        of_tile[members] = apart.argmin(axis=1)
        distance[members] = np.linalg.norm(own - centres[of_tile[members]], axis=1)
        return Clusters(of_tile, distance, count)
