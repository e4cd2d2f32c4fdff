"""What the labels so far cannot teach, and the tiles that would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from histoproto.studio.queue import TYPICAL_PER_TISSUE, Known


@dataclass(frozen=True)
class Advice:
    """A sentence, and the tissues that are in the tiles that are lacking, and those that are not in them."""

    text: str
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]


def advice(known: Known) -> list[Advice]:
    """What the labels so far cannot teach.

    A tissue that is in every labelled tile, or in none, or that was never seen without another one, cannot be told
    apart (as `histoproto data check` warns).
    """
    ticks = known.ticks[(known.ticks >= 0).all(axis=1) & ~known.checks]
    if len(ticks) < 2 * TYPICAL_PER_TISSUE:
        return []
    found = []
    for index, name in enumerate(known.tissues):
        own = ticks[:, index] == 1
        if not own.any():
            found.append(Advice(f"no tile with {name} yet: look for one", (name,), ()))
        elif own.all():
            found.append(Advice(f"{name} is in every tile: look for tiles without it", (), (name,)))
        else:
            for other, other_name in enumerate(known.tissues):
                if other != index and ticks[own, other].all() and not ticks[:, other].all() and own.sum() >= 2:
                    text = f"{name} was never seen without {other_name}: look for tiles without {other_name}"
                    found.append(Advice(text, (name,), (other_name,)))
                    break
    return found


def seek(known: Known, wanted: Sequence[str], unwanted: Sequence[str], count: int = 12) -> list[int]:
    """Open tiles that have some tissues and lack others as the model sees it, the likeliest first.

    Before there is a model, those least like what is labelled. None of the random share: looking for it would make it
    less random.
    """
    open_ = np.flatnonzero(~known.checks & ~known.done & ~known.poor)
    if known.chances is None:
        score = -known.space.nearest(known.done)[open_]
    else:
        chances = known.chances[open_]
        at = {name: chances[:, index] for index, name in enumerate(known.tissues)}
        score = np.ones(len(open_), np.float32)
        for name in wanted:
            score = score * at.get(name, 0)
        for name in unwanted:
            score = score * (1 - at.get(name, 0))
    return [int(open_[place]) for place in np.argsort(-score, kind="stable")[:count]]
