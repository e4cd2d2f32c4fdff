"""How far a full training has come, from the files that it writes while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from histoproto.config import load_settings
from histoproto.documents.shapes import read_json_as
from histoproto.errors import HistoProtoError
from histoproto.report.charts import Curve, read_history, thin

State = Literal["waiting", "preparing", "training", "finishing", "done"]
CARD, PROGRESS, HISTORY, CONFIG = "model.json", "progress.json", "history.csv", "config.yaml"
MOST_POINTS = 200
"""Of a curve, as it is shown."""


@dataclass(frozen=True)
class Progress:
    """What `progress.json` of a run says: `step` of `steps`, and the seconds left of them where that is known."""

    step: int
    steps: int
    left: float | None


@dataclass(frozen=True)
class Stage:
    """A stage of a training; most methods have one.

    Attributes:
        title: in words; "" of the only one.
        state: `waiting` for another stage, `preparing` before the first step, `training`, `finishing` (thresholds, a
            report), or `done`. One that was stopped stays where it was.
        progress: while it trains.
        curves: losses, scores and the learning rate, by name: pairs of step and value, in order of steps.
    """

    title: str
    state: State
    progress: Progress | None
    curves: dict[str, list[tuple[float, float]]]


def follow(run: Path) -> list[Stage]:
    """The stages of a training, in the order in which they are trained, as its run folder has them now.

    Nothing of it need be there yet, and a file that cannot be read counts as not there: it may be at work.

    Args:
        run: the run folder.
    """
    folders = list(_folders(run))
    stages: list[Stage] = []
    for folder, title in folders:
        before = stages[-1].state if stages else "done"
        stages.append(_stage(folder, title if len(folders) > 1 else "", before == "done"))
    return stages


def _folders(run: Path) -> Iterator[tuple[Path, str]]:
    """Of each stage the run folder and what it is called."""
    title = "the network"
    with suppress(HistoProtoError):
        settings = load_settings(run / CONFIG) if (run / CONFIG).is_file() else None
        if settings and settings.training.second_stage:
            yield run / "first-stage", f"{settings.method} on image labels"
            title = "segmentation network on the masks that the first stage finds"
        elif settings and settings.training.tuning == "head-first":
            yield run / "head", "head on the features of the frozen encoder"
            title = "encoder and head"
    yield run, title


def _stage(folder: Path, title: str, begun: bool) -> Stage:
    progress = None
    with suppress(HistoProtoError):
        progress = read_json_as(folder / PROGRESS, Progress)
    curves: list[Curve] = []
    with suppress(HistoProtoError):
        curves = read_history(folder / HISTORY)
    state: State = "preparing" if begun else "waiting"
    if (folder / CARD).is_file():
        state, progress = "done", None
    elif progress:
        state = "training" if progress.step < progress.steps else "finishing"
    elif curves:
        state = "finishing"
    return Stage(title, state, progress, {curve.name: thin(curve.points, MOST_POINTS) for curve in curves})
