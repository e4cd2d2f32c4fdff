"""Calibration error, and errors where there is doubt."""

from __future__ import annotations

import numpy as np
import pytest

from histoproto.evaluation.reliability import Reliability


def counted(doubt: np.ndarray, right: np.ndarray) -> Reliability:
    found = Reliability()
    for part in (slice(None, 300), slice(300, None)):
        found.add(doubt[part], right[part])
    return found


def test_error_is_that_of_a_slow_computation() -> None:
    rng = np.random.default_rng(0)
    doubt = rng.random(5000) * 0.7
    right = rng.random(5000) > doubt * 1.3
    slow = 0.0
    for low in np.arange(15) / 15:
        inside = (doubt >= low) & (doubt < low + 1 / 15)
        if inside.any():
            slow += inside.mean() * abs((1 - doubt[inside]).mean() - right[inside].mean())
    assert counted(doubt, right).calibration_error() == pytest.approx(slow, abs=2e-3)


def test_chances_that_are_right_have_no_error() -> None:
    rng = np.random.default_rng(1)
    doubt = rng.random(200_000) * 0.7
    assert counted(doubt, rng.random(200_000) > doubt).calibration_error() < 0.01


def test_errors_in_the_most_doubtful_tenth() -> None:
    doubt = np.linspace(0, 1, 1000, endpoint=False)
    right = np.ones(1000, dtype=bool)
    right[950:] = False
    right[:50] = False
    assert counted(doubt, right).errors_in_most_doubtful() == pytest.approx(0.5)
    assert counted(doubt * 0 + 0.3, right).errors_in_most_doubtful() == pytest.approx(0.1)  # no order, no knowledge
    assert counted(doubt, right).share_from(0.4) == pytest.approx(0.6)
    assert np.isnan(counted(doubt, right | True).errors_in_most_doubtful())
    assert np.isnan(Reliability().calibration_error())
