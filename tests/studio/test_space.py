"""Distances and likenesses, against slow computations; what is kept is what is asked for."""

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


def slow_likeness(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    unit = np.array([vector / np.linalg.norm(vector) for vector in vectors])
    centred = [row - unit.mean(axis=0) for row in unit]
    cosines = [[float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b)) for b in centred] for a in centred]
    return np.array([[max(0.0, cosine) ** 3 for cosine in row] for row in cosines])


def test_likeness_and_its_sum_over_what_is_done_also_when_something_is_added_or_taken_back() -> None:
    vectors = np.random.default_rng(1).normal(loc=0.5, size=(300, 6))
    space, slow = Space(vectors), slow_likeness(vectors)
    np.testing.assert_allclose(space.likeness(7), slow[7], atol=1e-5)
    done = np.zeros(300, np.bool_)
    for changed in ([3], [5, 9], [3], [11, 5], list(range(20, 300))):
        done[changed] ^= True
        np.testing.assert_allclose(space.crowd(done), slow[:, done].sum(axis=1), atol=1e-3)


def test_typical_is_the_mean_likeness_with_all_but_those_left_out_or_with_a_sample_of_them() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 6))
    without = np.arange(60) % 5 == 0
    space = Space(vectors)
    np.testing.assert_allclose(space.typical(without, 0), slow_likeness(vectors)[:, ~without].mean(axis=1), atol=1e-5)
    assert space.typical(without, 0) is space.typical(without.copy(), 0)

    group = rng.choice(3, size=3000, p=[0.6, 0.3, 0.1])
    typical = Space(np.eye(3, 12)[group] + 0.02 * rng.normal(size=(3000, 12))).typical(np.zeros(3000, np.bool_), 0)
    for number, share in enumerate([0.6, 0.3, 0.1]):
        np.testing.assert_allclose(typical[group == number].mean(), share, atol=0.05)


def test_no_tiles_are_no_mistake() -> None:
    assert len(Space(np.empty((0, 0), np.float32))) == 0
