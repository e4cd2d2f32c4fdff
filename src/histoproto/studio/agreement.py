"""How far people agree on the tiles that two of them labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from histoproto.studio.records import Label


@dataclass(frozen=True)
class Agreement:
    """Of two people on one tissue.

    Attributes:
        people: their initials.
        tissue: its name.
        tiles: that both labelled.
        both, neither: of these, tiles in which both, or neither of them, ticked it.
        kappa: Cohen's; None where it is not defined, as when both ticked it everywhere.
    """

    people: tuple[str, str]
    tissue: str
    tiles: int
    both: int
    neither: int
    kappa: float | None


def cohens_kappa(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    """Agreement of two raters on N cases beyond chance (Cohen, *A coefficient of agreement for nominal scales*, 1960).

    Returns:
        (p_o − p_e) / (1 − p_e), at most 1; None if chance alone would agree on all.
    """
    if not len(one):
        return None
    observed = float((one == other).mean())
    a, b = float(one.mean()), float(other.mean())
    expected = a * b + (1 - a) * (1 - b)
    return None if expected == 1 else (observed - expected) / (1 - expected)


def agreement(said: Mapping[str, Mapping[int, Label]], tissues: Sequence[str]) -> list[Agreement]:
    """Of each pair of people who labelled the same tiles, tissue by tissue.

    Args:
        said: what each person said last of each tile, as `Store.by_person` tells it.
        tissues: names.
    """
    found = []
    for people in combinations(sorted(said), 2):
        first, second = ({t: label for t, label in said[who].items() if label.verdict == "label"} for who in people)
        tiles = sorted(first.keys() & second.keys())
        for tissue in tissues if tiles else ():
            one, other = (np.array([tissue in labels[tile].ticks for tile in tiles]) for labels in (first, second))
            both, neither = int((one & other).sum()), int((~one & ~other).sum())
            found.append(Agreement(people, tissue, len(tiles), both, neither, cohens_kappa(one, other)))
    return found
