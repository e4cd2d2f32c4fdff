"""The queue: random checks, typical tiles first, then doubt; each with its reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from histoproto.studio.queue import CHECK_EVERY, disagreements, like, second_readings, suggest
from histoproto.studio.records import Label
from histoproto.studio.space import Space
from known_tiles import known_of


def test_the_first_tiles_are_of_different_groups_and_one_in_five_is_a_check() -> None:
    known = known_of(groups=8)
    found = suggest(known, 11)
    assert len({one.tile for one in found}) == 11
    assert [one.kind for one in found].count("check") == 11 // CHECK_EVERY
    assert all(known.checks[one.tile] == (one.kind == "check") for one in found)
    assert {one.tile % 8 for one in found if one.kind == "typical"} == set(range(8))
    assert "nobody has labelled" in found[0].reason


def test_the_same_knowledge_gives_the_same_tiles() -> None:
    assert suggest(known_of(), 7, seed=3) == suggest(known_of(), 7, seed=3)


def test_doubt_is_asked_about_once_there_are_labels_of_each_kind() -> None:
    known = known_of(labels=60)
    chances = np.tile(np.array([0.95, 0.03], np.float32), (200, 1))
    chances[151] = 0.52, 0.44
    found = suggest(replace(known, chances=chances), 1)
    assert (found[0].tile, found[0].kind) == (151, "unsure")
    assert found[0].reason == "tumour or stroma? 0.52/0.44"


def test_a_slide_without_a_label_comes_first() -> None:
    known = known_of(labels=60)
    slides = np.where(np.arange(200) >= 150, 1, 0)
    chances = np.full((200, 2), 0.9, np.float32)
    found = suggest(replace(known, slides=slides, chances=chances), 1)
    assert found[0].tile >= 150
    assert found[0].reason == "slide 1 has no label yet"


def test_every_other_tile_is_one_of_doubt_and_the_rest_follow_the_tissue() -> None:
    known = known_of(labels=60)
    chances = np.full((200, 2), 0.9, np.float32)
    found = suggest(replace(known, chances=chances - 0.35), 20)
    kinds = [one.kind for one in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {"unsure": 8, "typical": 8, "check": 4}


def test_labels_follow_the_tissue_and_the_slides() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [600, 300, 100])
    slides = rng.permutation(np.repeat([0, 1, 2], [700, 200, 100]))
    known = replace(
        known_of(),
        space=Space(np.eye(3, 16)[group] + 0.05 * rng.normal(size=(1000, 16))),
        slides=slides,
        checks=np.zeros(1000, np.bool_),
        poor=np.zeros(1000, np.bool_),
        done=np.zeros(1000, np.bool_),
        ticks=np.full((1000, 2), -1, np.int8),
        slide_names=["large", "small", "smaller"],
    )
    tiles = [one.tile for one in suggest(known, 40)]
    np.testing.assert_allclose(np.bincount(group[tiles], minlength=3) / 40, [0.6, 0.3, 0.1], atol=0.06)
    np.testing.assert_allclose(np.bincount(slides[tiles], minlength=3) / 40, [0.7, 0.2, 0.1], atol=0.06)


def test_of_two_tiles_in_doubt_the_typical_one_is_asked_for() -> None:
    known = known_of(labels=60)
    embeddings = known.space.unit.copy()
    embeddings[171] = 0
    embeddings[171, 15] = 1  # like nothing else
    chances = np.full((200, 2), 0.95, np.float32)
    chances[[151, 171], 0] = 0.55
    assert suggest(replace(known, space=Space(embeddings), chances=chances), 1)[0].tile == 151


def test_what_is_unlike_all_labels_is_asked_about_where_the_model_is_sure() -> None:
    known = known_of(labels=60)
    embeddings = known.space.unit.copy()
    embeddings[171] = 0
    embeddings[171, 15] = 1
    chances = np.full((200, 2), 0.97, np.float32)
    found = suggest(replace(known, space=Space(embeddings), chances=chances), 1)
    assert (found[0].tile, found[0].kind) == (171, "unlike")


def test_nothing_is_asked_twice_and_the_end_is_an_end() -> None:
    known = known_of(count=20)
    found = suggest(known, 50)
    assert sorted(one.tile for one in found) == list(range(20))
    assert suggest(replace(known, done=np.ones(20, np.bool_)), 3) == []


def test_like_tiles_are_of_the_same_group_and_no_checks() -> None:
    known = known_of()
    found = like(known, 6, 20)
    assert found[0] == 6
    assert all(tile % 4 == 2 for tile in found)
    assert not known.checks[found[1:]].any()


def test_disagreements_are_the_most_flagrant_first() -> None:
    known = known_of(labels=20)
    chances = known.ticks.astype(np.float32).clip(0, 1) * 0.8 + 0.1
    chances[3, 0], chances[8, 0] = 0.99, 0.05
    assert disagreements(replace(known, chances=chances)) == [
        (3, "the model sees tumour (0.99)"),
        (8, "the model sees no tumour (0.05)"),
    ]


def by(event: int, *tiles: int) -> dict[int, Label]:
    """One label after the other, from an event on."""
    return {tile: Label(event + place, tile, "label", (), "", "") for place, tile in enumerate(tiles)}


def test_a_share_is_read_a_second_time_whenever_tiles_are_asked_for() -> None:
    said = {"AB": by(1, *range(1, 30)), "CD": by(100, *range(50, 57))}
    assert second_readings(said, "CD", 0.1, set()) == []  # of 8
    assert second_readings(said, "CD", 0.1, set(), count=6) == [1]  # of 13
    assert second_readings(said, "CD", 0.1, {1}, count=6) == [2]
    assert second_readings(said, "CD", 0.5, set(), waiting={1, 90}, count=4) == [2, 3, 4, 5]  # of 13, one is waiting
    assert second_readings(said, "CD", 0.0, set(), count=6) == []
    said["CD"] |= by(120, 3)
    assert second_readings(said, "CD", 0.1, set(), count=6) == []  # it has been done
    assert second_readings(said, "AB", 0.1, set(), count=6) == [50, 51, 52]  # who was first has read none again
    assert second_readings({"AB": said["AB"]}, "AB", 0.5, set(), count=6) == []
    assert second_readings(said | {"EF": by(200, *range(1, 30))}, "CD", 0.5, set(), count=6) == []
    skipped = {"AB": {1: Label(1, 1, "skip", (), "", ""), 2: Label(2, 2, "label", (), "", "")}}
    assert second_readings(skipped, "CD", 0.5, set(), count=6) == [2]


def test_the_share_is_kept_however_many_are_asked_for_at_once() -> None:
    for at_once in (1, 4, 6):
        said, queue, given, event = {"AB": by(0, *range(200))}, list[int](), 0, 1000
        for _ in range(100):
            if len(queue) < 3:
                seconds = second_readings(said, "CD", 0.2, set(queue), set(queue), at_once)
                given += len(seconds)
                queue += [*seconds, *range(event, event + at_once - len(seconds))]
            event += 10
            said["CD"] = said.get("CD", {}) | by(event, queue.pop(0))
        assert 19 <= given <= 21


def test_poor_tiles_come_last_but_are_no_less_random() -> None:
    known = known_of(count=40)
    poor = np.arange(40) % 4 == 1  # a whole group
    found = suggest(replace(known, poor=poor), 40)
    order = [one.tile for one in found]
    assert sorted(order) == list(range(40))
    chosen = [one.tile for one in found if one.kind != "check"]
    assert not poor[chosen[: int((~poor & ~known.checks).sum())]].any()
    assert [one.tile for one in found if one.kind == "check"][:3] == [
        one.tile for one in suggest(known, 40) if one.kind == "check"
    ][:3]
    assert "of the tissue" in found[-1].reason or found[-1].kind == "check"
    assert suggest(replace(known, poor=np.ones(40, np.bool_)), 3)
