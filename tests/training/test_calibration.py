"""Thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from histoproto.training.calibration import best_f1_threshold


def test_threshold_is_the_best_of_all_cuts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, weights = rng.random(30) < 0.4, rng.choice([0.3, 1.0], 30)
        logits = rng.normal(2 * labels - 1, 1).round(1)

        def f1(threshold: float, z=logits, y=labels, w=weights) -> float:
            chosen = 1 / (1 + np.exp(-z)) >= threshold
            return 2 * (w * (chosen & y)).sum() / ((w * chosen).sum() + (w * y).sum())

        found = best_f1_threshold(logits, labels, weights)
        assert f1(found) == pytest.approx(max(f1(t) for t in np.linspace(0, 1, 2001)))


@pytest.mark.parametrize(("logits", "most"), [([0.2, 0.9], 0.5), ([7.0, 6.0], 0.5), ([-3.0, 2.0], 0.05)])
def test_what_is_in_all_patches_passes_in_all_of_them(logits: list[float], most: float) -> None:
    threshold = best_f1_threshold(np.array(logits), np.array([True, True]), np.ones(2))
    assert 0 < threshold <= most


def test_what_is_in_none_is_cut_in_the_middle() -> None:
    assert best_f1_threshold(np.array([0.2, 0.9]), np.array([False, False]), np.ones(2)) == 0.5
