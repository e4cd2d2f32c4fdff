"""Cohen's kappa against counting by hand, and who is compared with whom."""

from __future__ import annotations

import numpy as np
import pytest

from histoproto.studio.agreement import agreement, cohens_kappa
from histoproto.studio.records import Label


def slow_kappa(one: list[bool], other: list[bool]) -> float:
    """From the table of counts, as textbooks write it."""
    table = [[sum(a == x and b == y for a, b in zip(one, other, strict=True)) for y in (0, 1)] for x in (0, 1)]
    n = len(one)
    observed = (table[0][0] + table[1][1]) / n
    expected = sum(sum(table[k]) * (table[0][k] + table[1][k]) for k in (0, 1)) / n**2
    return (observed - expected) / (1 - expected)


def test_kappa_is_that_of_the_textbook() -> None:
    # 20 both yes, 5 and 10 only one, 15 both no: p_o = 0.7, p_e = 0.5.
    one = np.array([True] * 25 + [False] * 25)
    other = np.array([True] * 20 + [False] * 5 + [True] * 10 + [False] * 15)
    assert cohens_kappa(one, other) == pytest.approx(0.4)
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random((2, 30)) < rng.uniform(0.2, 0.8)
        assert cohens_kappa(a, b) == pytest.approx(slow_kappa(a.tolist(), b.tolist()))


def test_the_ends_of_kappa() -> None:
    half = np.arange(10) < 5
    assert cohens_kappa(half, half) == pytest.approx(1)
    assert cohens_kappa(half, ~half) == pytest.approx(-1)
    assert cohens_kappa(np.ones(4, np.bool_), np.ones(4, np.bool_)) is None
    assert cohens_kappa(np.empty(0, np.bool_), np.empty(0, np.bool_)) is None


def test_only_tiles_that_both_labelled_count() -> None:
    def label(tile: int, *ticks: str, verdict: str = "label") -> Label:
        return Label(0, tile, verdict, ticks, "", "")  # type: ignore[arg-type]

    said = {
        "AB": {1: label(1, "tumour"), 2: label(2, "stroma"), 3: label(3, "stroma"), 4: label(4, "tumour")},
        "CD": {1: label(1, "tumour"), 2: label(2), 3: label(3, verdict="unsure"), 9: label(9)},
        "EF": {7: label(7, "tumour")},
    }
    found = {(one.people, one.tissue): one for one in agreement(said, ["tumour", "stroma"])}
    assert set(found) == {(("AB", "CD"), "tumour"), (("AB", "CD"), "stroma")}
    tumour, stroma = found[("AB", "CD"), "tumour"], found[("AB", "CD"), "stroma"]
    assert (tumour.tiles, tumour.both, tumour.neither, tumour.kappa) == (2, 1, 1, 1.0)
    assert (stroma.tiles, stroma.both, stroma.neither, stroma.kappa) == (2, 0, 1, 0.0)
