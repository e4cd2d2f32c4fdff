"""The rounds of a project that were learnt: where they are, what they guess, how good they are.

Apart from `learning.py`, so that the server can begin before torch is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoproto.documents.shapes import read_json_as
from histoproto.errors import DataError
from histoproto.studio.project import Project


@dataclass(frozen=True)
class Score:
    """How good a round is, on labelled tiles of the random share, which were never trained on.

    Attributes:
        labels: how many labels were trained on.
        checks: how many tiles it was measured on.
        average_precision: mean over tissues, in [0, 1]; None where there are too few.
        low, high: of its 95 % interval by bootstrap over tiles.
        f1: mean over tissues at the gating thresholds.
        untaught: tissues that were in none of the labels; the map does not know them.
        everywhere: tissues that were in all of them; the map has them wherever it sees no other one.
        tissues: that the model knows, in order.
    """

    labels: int
    checks: int
    average_precision: float | None = None
    low: float | None = None
    high: float | None = None
    f1: float | None = None
    untaught: tuple[str, ...] = ()
    everywhere: tuple[str, ...] = ()
    tissues: tuple[str, ...] = ()


def round_folder(project: Project, number: int) -> Path:
    """Where a round is kept."""
    return project.folder / "rounds" / f"{number:04d}"


def finished_rounds(project: Project) -> list[int]:
    """The rounds that have a model of the tissues of the project and its guesses, in order.

    Those from before a tissue was added are none of them.
    """
    names = tuple(project.tissues.names)
    return [number for number in _rounds(project) if _knows(project, number, names)]


def _knows(project: Project, number: int, names: tuple[str, ...]) -> bool:
    if tissues := _score(project, number).tissues:
        return tissues == names
    with np.load(round_folder(project, number) / "guesses.npz", allow_pickle=False) as file:  # of version 0.2.0
        return bool(file["chances"].shape[1] == len(names))


def _rounds(project: Project) -> list[int]:
    folders = sorted((project.folder / "rounds").glob("[0-9]*"))
    return [int(folder.name) for folder in folders if (folder / "guesses.npz").is_file()]


def _score(project: Project, number: int) -> Score:
    path = round_folder(project, number) / "score.json"
    return _read_score(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1024)  # the page asks for all of them every other second
def _read_score(path: Path, _changed: int) -> Score:
    return read_json_as(path, Score)


def next_round(project: Project) -> int:
    """The number of the round to come; numbers of rounds that were stopped are used again."""
    return max(_rounds(project), default=0) + 1


def read_guesses(project: Project, number: int) -> dict[int, NDArray[np.float32]]:
    """The guesses of a round by tile: the chance of each tissue, C in [0, 1]."""
    with np.load(round_folder(project, number) / "guesses.npz", allow_pickle=False) as file:
        return {int(tile): chance for tile, chance in zip(file["tiles"], file["chances"], strict=True)}


def read_scores(project: Project) -> list[Score]:
    """The scores of all finished rounds, in order."""
    return [_score(project, number) for number in finished_rounds(project)]


def model_folder(project: Project, number: int) -> Path:
    """The run folder of a round.

    Raises:
        DataError: there is no such round.
    """
    if number not in finished_rounds(project):
        raise DataError(f"there is no model of round {number} yet")
    return round_folder(project, number) / "run"
