"""Advice names what labels cannot teach, and finds the tiles that would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from histoproto.studio.advice import Advice, advice, seek
from known_tiles import known_of


def test_advice_names_what_was_never_seen_alone() -> None:
    known = known_of(labels=20)
    assert advice(known) == []
    ticks = known.ticks.copy()
    ticks[:20] = 1
    ticks[:10, 0] = 0
    assert advice(replace(known, ticks=ticks)) == [
        Advice("stroma is in every tile: look for tiles without it", (), ("stroma",)),  # tumour is told from it
    ]
    ticks[:3, 1] = 0
    assert advice(replace(known, ticks=ticks)) == [
        Advice("tumour was never seen without stroma: look for tiles without stroma", ("tumour",), ("stroma",)),
    ]


def test_the_tiles_sought_have_what_is_wanted_and_are_open() -> None:
    known = known_of(labels=20)
    chances = np.random.default_rng(1).uniform(size=(200, 2)).astype(np.float32)
    found = seek(replace(known, chances=chances), ["tumour"], ["stroma"], 10)
    assert not known.checks[found].any()
    assert not known.done[found].any()
    score = chances[:, 0] * (1 - chances[:, 1])
    assert list(score[found]) == sorted(score[~known.checks & ~known.done], reverse=True)[:10]


def test_before_a_model_the_tiles_sought_are_unlike_those_labelled() -> None:
    known = known_of()
    first_group = np.arange(200) % 4 == 0
    known = replace(known, done=first_group)
    assert not first_group[seek(known, ["tumour"], [], 20)].any()
