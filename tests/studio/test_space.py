"""Distances and clusters, against slow computations; what is kept is what is asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histoproto.studio.space import Space


def slow_nearest(vectors: NDArray[np.float64], done: NDArray[np.bool_]) -> list[float]:
    unit = [vector / np.linalg.norm(vector) for vector in vectors]
    return [max([0.0, *(float(a @ b) for b, d in zip(unit, done, strict=True) if d)]) for a in unit]


def test_the_nearest_that_is_done_also_when_something_is_added_or_taken_back() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 6))
    space = Space(vectors)
    done = np.zeros(40, np.bool_)
    for changed in ([3], [5, 9], [3], [11, 5], list(range(20, 40))):
        done[changed] ^= True
        np.testing.assert_allclose(space.nearest(done), slow_nearest(vectors, done), atol=1e-5)


def test_clusters_are_those_that_were_drawn_also_of_tiles_that_were_not_in_the_sample() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(6, size=3000)
    space = Space(np.eye(6, 12)[group] + 0.02 * rng.normal(size=(3000, 12)))
    without = np.arange(3000) % 5 == 0
    found = space.clusters(without, 0)
    assert (found.of_tile[without] == -1).all()
    assert np.isinf(found.distance[without]).all()
    for cluster in range(found.count):
        assert len(set(group[found.of_tile == cluster])) <= 1
    assert space.clusters(without, 0) is found
