"""Whether more labels still make the model better: two rounds compared on the random tiles that have a label now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from histoproto.evaluation.classifier import classifier_scores
from histoproto.studio.project import Project
from histoproto.studio.rounds import finished_rounds, read_guesses, read_scores

LABELS = 100
"""That must not have helped."""
LEAST_CHECKS = 30
GAIN = 0.02
"""A gain in mean average precision that is worth going on for."""
BOOTSTRAP = 300


@dataclass(frozen=True)
class Plateau:
    """What the last labels brought.

    Attributes:
        labels: how many they were.
        gain: in mean average precision.
        low, high: of its 95 % interval, by bootstrap over the tiles both rounds are measured on.
        flat: whether that lies below a gain worth going on for.
    """

    labels: int
    gain: float
    low: float
    high: float
    flat: bool


def plateau(project: Project) -> Plateau | None:
    """What the last `LABELS` labels brought; None before there are so many, or too few random tiles have a label.

    Both models are measured on the same tiles, those of the random share that have a label now, and the interval is
    that of the difference.
    """
    rounds, scores = finished_rounds(project), read_scores(project)
    former = [
        number for number, score in zip(rounds, scores, strict=True) if score.labels + LABELS <= scores[-1].labels
    ]
    if not former:
        return None
    before, after = read_guesses(project, former[-1]), read_guesses(project, rounds[-1])
    tiles, names = project.store.tiles(), project.tissues.names
    checked = [
        label
        for number, label in project.store.labels().items()
        if tiles[number].checks and label.verdict == "label" and number in before and number in after
    ]
    if len(checked) < LEAST_CHECKS:
        return None
    present = np.array([[name in label.ticks for name in names] for label in checked], np.bool_)
    old, new = (np.stack([guesses[label.tile] for label in checked]) for guesses in (before, after))
    even = [0.5] * len(names)

    def gain(rows: np.ndarray) -> float:
        one, other = (classifier_scores(each[rows], present[rows], even).mean_average_precision for each in (new, old))
        return one - other

    rng = np.random.default_rng(0)
    drawn = [gain(rng.integers(len(checked), size=len(checked))) for _ in range(BOOTSTRAP)]
    low, high = (float(value) for value in np.nanquantile(drawn, (0.025, 0.975)))
    labels = scores[-1].labels - scores[rounds.index(former[-1])].labels
    return Plateau(labels, gain(np.arange(len(checked))), low, high, high < GAIN)
