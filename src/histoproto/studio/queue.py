"""Which tile to label next, and why: a pure function of what is known of the tiles.

Labels should follow the tissue: thresholds are calibrated on them, so a tissue that is asked for less than its share is
likely to be found too seldom. So tiles that stand for all are chosen by kernel herding (Chen, Welling
& Smola, *Super-Samples from Kernel Herding*, UAI 2010): typical of all tiles, and unlike those labelled. Once the model
knows a little, every other tile is one of doubt, weighted by how typical it is (Settles & Craven, *An Analysis of
Active Learning Strategies for Sequence Labeling Tasks*, EMNLP 2008), for what is odd teaches little of the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from histoproto.studio.records import Label
from histoproto.studio.space import Space
from histoproto.words import counted

Kind = Literal["check", "typical", "slide", "unsure", "unlike", "alone", "second"]

CHECK_EVERY = 5
"""One of so many tiles comes from the random share, as long as it lasts."""
TYPICAL_PER_TISSUE = 4
"""Labels per tissue, with and without it each, before the model's doubts are trusted."""
SLIDES = 0.2
"""Weight of following the share of each slide, beside that of following the embeddings."""
IN_DOUBT = 0.3
"""Doubt from which on it is worth a question."""
GROUP = 0.125
"""Likeness from which on tiles are said to be of one group: a cosine of 0.5."""


@dataclass(frozen=True)
class Suggestion:
    """A tile to label: its place in the arrays that were given, why in kind, and why in words."""

    tile: int
    kind: Kind
    reason: str


FIRST = Suggestion(-1, "typical", "drawn at random: the first tiles are still being looked at")
SECOND = Suggestion(-1, "second", "second reading: somebody else has labelled it, too; what they said is not shown")


@dataclass(frozen=True)
class Known:
    """All that is known of N tiles.

    Attributes:
        space: of their embeddings.
        slides: N, the number of the slide of each.
        checks: N, whether the tile belongs to the random share.
        poor: N, whether it is mostly glass, drawn on with a pen, or blurred: such tiles are asked for last.
        done: N, whether something was said of it or somebody has it in hand.
        ticks: N×C, 1 for each tissue that was ticked, 0 for each that was not, −1 where the tile has no label.
        chances: N×C, of each tissue as the last model sees it, or None before there is one.
        tissues: C names.
        slide_names: name of each slide.
    """

    space: Space
    slides: NDArray[np.int64]
    checks: NDArray[np.bool_]
    poor: NDArray[np.bool_]
    done: NDArray[np.bool_]
    ticks: NDArray[np.int8]
    chances: NDArray[np.float32] | None
    tissues: Sequence[str]
    slide_names: Sequence[str]


@dataclass(frozen=True)
class _Slides:
    """How tissue and labels are spread over S slides.

    Attributes:
        shares: of each in the tiles that are not set aside, S.
        labels: how many each has, S.
        due: which have none though others have, and whose share is worth one or more, S.
    """

    shares: NDArray[np.float64]
    labels: NDArray[np.int64]
    due: NDArray[np.bool_]

    @classmethod
    def of(cls, known: Known, aside: NDArray[np.bool_], done: NDArray[np.bool_]) -> _Slides:
        most = len(known.slide_names)
        tissue = np.bincount(known.slides[~aside], minlength=most)
        labels = np.bincount(known.slides[done & ~known.checks], minlength=most)
        shares = tissue / max(1, int(tissue.sum()))
        return cls(shares, labels, labels.any() & (labels == 0) & (shares * (1 + labels.sum()) >= 1))


def suggest(known: Known, count: int = 1, seed: int = 0) -> list[Suggestion]:
    """The next tiles, the best first; fewer than asked for where there are no more.

    One in five is from the random share. The others stand for the tissue as it is; once each tissue has a few labels
    for and against, about half of them are tiles of doubt that are typical and unlike what is labelled. A slide whose
    share of the tissue is worth a label, and that has none, comes first. No tile of the random share is ever chosen for
    what it is.

    Args:
        known: see `Known`.
        count: how many.
        seed: of the random draws; with the same seed and knowledge the answer is the same.
    """
    done = known.done.copy()
    nearest, crowd = known.space.nearest(done), known.space.crowd(done & ~known.checks)
    trusted = known.chances if _enough(known) else None
    found: list[Suggestion] = []
    asked = int(done.sum())
    for number in range(count):
        chosen = None
        if (asked + number) % CHECK_EVERY == CHECK_EVERY - 1:
            chosen = _check(known, done, seed)
        aside = known.checks | known.poor
        if (aside | done).all():  # nothing else is left
            aside = known.checks
        if chosen is None and not (aside | done).all():
            closed, typical = aside | done, known.space.typical(aside, seed)
            slides = _Slides.of(known, aside, done)
            due = np.asarray(~closed & slides.due[known.slides])
            if trusted is not None and not due.any() and (asked + number) % 2 == 0:
                chosen = _doubtful(known, trusted, typical, closed, nearest)
            else:
                chosen = _typical(known, typical, crowd, aside, done, due, slides)
        chosen = chosen or _check(known, done, seed)
        if chosen is None:
            break
        found.append(chosen)
        done[chosen.tile] = True
        nearest = np.maximum(nearest, known.space.cosines(chosen.tile))
        if not known.checks[chosen.tile]:
            crowd = crowd + known.space.likeness(chosen.tile)
    return found


def second_readings(
    said: Mapping[str, Mapping[int, Label]],
    who: str,
    share: float,
    busy: Container[int],
    waiting: Collection[int] = (),
    count: int = 1,
) -> list[int]:
    """The numbers of tiles that exactly one other person labelled, as many as `who` is to read a second time now.

    Args:
        said: what each person said last of each tile.
        who: initials of the person.
        share: of what a person is given that is a second reading, in [0, 0.5].
        busy: tiles that are not to be asked for.
        waiting: tiles that the person was given and has not labelled yet.
        count: how many tiles are asked for.
    """
    own = said.get(who, {})
    others = {
        name: {tile: label for tile, label in labels.items() if label.verdict == "label"}
        for name, labels in said.items()
        if name != who
    }
    readers = Counter(tile for labels in others.values() for tile in labels)
    first = {tile: min(labels[tile].event for labels in others.values() if tile in labels) for tile in readers}
    done = sum(first.get(tile, label.event) < label.event for tile, label in own.items())
    done += sum(tile in first for tile in waiting if tile not in own)
    due = int(share * (len({*own, *waiting}) + count)) - done
    open_ = [tile for tile, people in sorted(readers.items()) if people == 1 and tile not in own]
    return [tile for tile in open_ if tile not in busy and tile not in waiting][: max(0, min(due, count))]


def _check(known: Known, done: NDArray[np.bool_], seed: int) -> Suggestion | None:
    open_ = np.flatnonzero(known.checks & ~done)
    if not open_.size:
        return None
    tile = int(np.random.default_rng((seed, int(done.sum()))).choice(open_))
    return Suggestion(tile, "check", "random check: never trained on, it measures how good the model is")


def _doubtful(
    known: Known,
    chances: NDArray[np.float32],
    typical: NDArray[np.float32],
    closed: NDArray[np.bool_],
    nearest: NDArray[np.float32],
) -> Suggestion:
    """The tile about which the model is most in doubt, most typical and least like what was labelled."""
    open_ = np.flatnonzero(~closed)
    doubt = (1 - 2 * np.abs(chances[open_] - 0.5)).max(axis=1)
    far = 1 - nearest[open_]
    if doubt.max() < IN_DOUBT:
        return Suggestion(int(open_[np.argmax(far)]), "unlike", "unlike anything labelled so far")
    score = doubt * typical[open_] * (0.25 + far / max(float(far.max()), 1e-6))
    tile = int(open_[np.argmax(np.where(doubt < IN_DOUBT, -1, score))])
    return Suggestion(tile, "unsure", _doubt_in_words(chances[tile], known.tissues))


def _doubt_in_words(chances: NDArray[np.float32], tissues: Sequence[str]) -> str:
    """What the model wavers between: the two tissues nearest to even chances, or one and its absence."""
    first, *others = (int(i) for i in np.argsort(np.abs(chances - 0.5)))
    if others and abs(chances[others[0]] - 0.5) < 0.25:
        pair = sorted((first, others[0]), key=lambda i: -chances[i])
        return f"{' or '.join(tissues[i] for i in pair)}? {'/'.join(f'{chances[i]:.2f}' for i in pair)}"
    return f"{tissues[first]}, or not? {chances[first]:.2f}"


def _enough(known: Known) -> bool:
    """Whether each tissue was ticked, and left unticked, a few times on tiles that are trained on."""
    ticks = known.ticks[(known.ticks >= 0).all(axis=1) & ~known.checks]
    return bool(len(ticks) and np.minimum(ticks.sum(axis=0), (1 - ticks).sum(axis=0)).min() >= TYPICAL_PER_TISSUE)


def _typical(
    known: Known,
    typical: NDArray[np.float32],
    crowd: NDArray[np.float32],
    aside: NDArray[np.bool_],
    done: NDArray[np.bool_],
    due: NDArray[np.bool_],
    slides: _Slides,
) -> Suggestion:
    """The tile that stands for most of the tissue that lacks labels, on the slide that lacks them."""
    labelled = done & ~known.checks
    count = 1 + np.count_nonzero(labelled)
    lacking = typical - crowd / count
    lacking_slides = slides.shares - slides.labels / count
    open_ = np.flatnonzero(due if due.any() else ~(aside | done))
    tile = int(open_[np.argmax(lacking[open_] + SLIDES * lacking_slides[known.slides[open_]])])
    if due.any():
        return Suggestion(tile, "slide", f"{known.slide_names[known.slides[tile]]} has no label yet")
    group = known.space.likeness(tile) >= GROUP
    share, own = float(group[~aside].mean()), int((group & labelled).sum())
    of_tissue = f"({share:.0%} of the tissue)" if share >= 0.005 else "(less than 1% of the tissue)"
    if own:
        return Suggestion(tile, "typical", f"of a group with {counted(own, 'label')} {of_tissue}")
    return Suggestion(tile, "typical", f"typical of a group nobody has labelled {of_tissue}")


def like(known: Known, tile: int, count: int = 24) -> list[int]:
    """The tiles most like one, itself first; none of the random share."""
    similarity = known.space.cosines(tile)
    similarity[known.checks] = -2
    similarity[tile] = 2
    return [int(i) for i in np.argsort(-similarity, kind="stable")[:count] if similarity[i] > -2]


def disagreements(known: Known, count: int = 50) -> list[tuple[int, str]]:
    """Labelled tiles that the model contradicts, the most flagrant first, each with what it says."""
    if known.chances is None:
        return []
    labelled = np.flatnonzero((known.ticks >= 0).all(axis=1))
    against = np.abs(known.chances[labelled] - known.ticks[labelled])
    found = []
    for place in np.argsort(-against.max(axis=1), kind="stable")[:count]:
        worst = int(np.argmax(against[place]))
        if against[place, worst] < 0.7:
            break
        tile = int(labelled[place])
        verb = "sees" if known.ticks[tile, worst] == 0 else "sees no"
        found.append((tile, f"the model {verb} {known.tissues[worst]} ({known.chances[tile, worst]:.2f})"))
    return found
