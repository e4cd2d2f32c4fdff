"""Intervals by bootstrap over regions, against slow loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from histoproto.compare.bootstrap import difference_of_miou, differences, mean_iou
from histoproto.compare.folds import read_results
from histoproto.compare.plan import Plan
from histoproto.evaluation.confusion import scores

RNG = np.random.default_rng(0)


def test_many_matrices_at_once_score_as_one_by_one() -> None:
    matrices = RNG.integers(0, 50, (7, 3, 4, 4))
    expected = [[scores(matrix).miou for matrix in row] for row in matrices]
    np.testing.assert_allclose(mean_iou(matrices), expected)
    matrices[..., 1, :] = 0  # the tissue is not there, though it is predicted: it does not count
    found = mean_iou(matrices)[0, 0]
    assert found == pytest.approx(np.mean([scores(matrices[0, 0]).iou[i] for i in (0, 2)]))


def test_the_interval_is_that_of_a_slow_loop() -> None:
    first, second = (RNG.integers(10, 90, (2, 6, 4, 4)) for _ in range(2))
    estimate, draws = difference_of_miou(first, second, draws=200, seed=3)

    def score(matrices: NDArray[np.int64], chosen: list[int]) -> float:
        return float(np.mean([scores(sum(matrices[s, r] for r in chosen)).miou for s in range(2)]))

    assert estimate == pytest.approx(score(first, list(range(6))) - score(second, list(range(6))))
    times = np.random.default_rng(3).multinomial(6, [1 / 6] * 6, size=200)
    slow = []
    for count in times:
        chosen = [region for region in range(6) for _ in range(count[region])]
        slow.append(score(first, chosen) - score(second, chosen))
    np.testing.assert_allclose(draws, slow)


def test_limits_of_the_interval(comparison: tuple[Plan, Path]) -> None:
    plan, out = comparison
    second, few = differences(read_results(plan, out), "lpd")
    assert (second.label, second.seeds, second.regions) == ("lpd:2", (0, 1), 5)
    assert second.interval[0] > 0  # better in every region, so in every draw
    assert second.verdict == "better"
    assert second.interval[0] < second.estimate < second.interval[1]
    assert (few.label, few.seeds) == ("K=3", (0,))  # identical runs of the seed that both have
    assert few.estimate == 0
    assert few.interval == (0, 0)
    assert few.verdict == "open"
    (worse, _) = differences(read_results(plan, out), "lpd:2")
    assert worse.estimate == pytest.approx(-second.estimate)
    assert worse.verdict == "worse"
