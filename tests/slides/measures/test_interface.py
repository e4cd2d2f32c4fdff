from __future__ import annotations

import math

import numpy as np
import pytest

from histoproto.slides.measures.interface import REACH, Interfaces, direction_weights
from slides.measures.drawn import Labels, disc, half_plane


def lengths(labels: Labels, tissues: int = 2, step: int = 64) -> np.ndarray:
    found = Interfaces(tissues)
    for top in range(0, len(labels), step):
        found.add(labels[top : top + step + REACH], min(step, len(labels) - top))
    return found.lengths()


@pytest.mark.parametrize("degrees", [0, 7, 13, 22.5, 30, 36, 45, 50, 60, 75, 90, 100, 120, 135, 150, 170])
def test_straight_border_at_any_angle(degrees: float) -> None:
    """Measured in a disc around the middle, whose diameter the border is; pixel edges would give up to 41 % more."""
    labels = np.where(half_plane(400, 400, degrees), 1, 0).astype(np.uint8)
    labels[~disc(400, 400, 200, 200, 180)] = 2
    assert lengths(labels)[0, 1] == pytest.approx(360, rel=0.025)


def test_mean_over_all_angles_is_right() -> None:
    found = []
    for degrees in np.arange(0, 180, 3):
        labels = np.where(half_plane(300, 300, degrees), 1, 0).astype(np.uint8)
        labels[~disc(300, 300, 150, 150, 140)] = 2
        found.append(lengths(labels)[0, 1])
    assert np.mean(found) == pytest.approx(280, rel=0.005)


@pytest.mark.parametrize("radius", [15, 60.3, 150])
def test_disc(radius: float) -> None:
    labels = disc(320, 320, 160.2, 159.7, radius).astype(np.uint8)
    assert lengths(labels)[0, 1] == pytest.approx(2 * math.pi * radius, rel=0.01)


def test_nested_rings_by_pair() -> None:
    """Only what touches has an interface; what is no tissue has none with anything."""
    labels = np.full((300, 300), 3, np.uint8)
    for radius, label in ((140, 2), (100, 1), (50, 0)):
        labels[disc(300, 300, 150, 150, radius)] = label
    found = lengths(labels, 3)
    assert found[0, 1] == pytest.approx(2 * math.pi * 50, rel=0.01)
    assert found[1, 2] == pytest.approx(2 * math.pi * 100, rel=0.01)
    assert found[0, 2] == 0
    assert np.array_equal(found, found.T)
    assert not found.diagonal().any()


def test_strips_give_what_the_whole_gives() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (37, 23)).astype(np.uint8)
    whole = lengths(labels, 3, step=37)
    assert all(np.array_equal(lengths(labels, 3, step), whole) for step in (1, 2, 5, 36))
    assert lengths(labels[:1, :1], 3).sum() == 0


def test_weights_are_those_of_the_half_circle() -> None:
    """The shares of the directions are the whole half circle, and those at a right angle are alike."""
    weights = direction_weights()
    steps = np.array([1, math.sqrt(5), math.sqrt(2), math.sqrt(5)] * 2)
    assert (2 * weights * steps).sum() == pytest.approx(math.pi)
    assert np.allclose(weights[:4], weights[4:])
    assert np.allclose(weights[[1, 5]], weights[[3, 7]])
