"""The commands that do the same as the page: what *Model & results* runs beside, and what it offers to copy."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from histoproto.documents.tables import write_table
from histoproto.errors import SettingError
from histoproto.studio.project import Project
from histoproto.studio.rounds import model_folder


def maps_folder(project: Project, round: int) -> Path:
    """Where the maps of a round go."""
    return project.folder.resolve() / "maps" / f"{round:04d}"


def train_arguments(data: Path, out: Path, method: str = "", epochs: int = 0) -> list[str]:
    """Of a full training.

    Args:
        data: a data folder.
        out: of the run.
        method: to train with; "": the default one.
        epochs: to train for; 0: as many as the command takes by itself.

    Raises:
        SettingError: there is no such method.
    """
    if method:
        from histoproto.methods.registry import METHODS  # torch, which the server begins without

        if method not in METHODS:
            raise SettingError(f"there is no method {method!r}; there are {', '.join(METHODS)}")
    return [
        *("train", str(data), "--out", str(out)),
        *(["--method", method] if method else ()),
        *(["--set", f"training.epochs={epochs}"] if epochs else ()),
    ]


def segment_arguments(project: Project, round: int) -> list[str]:
    """Of mapping all slides with the model of a round; the table of slides that the command reads is written.

    Raises:
        DataError: there is no such round.
    """
    run, out = model_folder(project, round).resolve(), maps_folder(project, round)
    table = out.with_name(f"{out.name}-slides.csv")  # for a file may not say its µm/px, which the project knows
    out.parent.mkdir(exist_ok=True)
    rows = [[str(slide.path), f"{slide.mpp!r}"] for slide in project.store.slides() if slide.path.exists()]
    write_table(table, ["slide", "mpp"], rows)
    return ["segment", str(run), str(table), "--out", str(out)]


def commands(project: Project, round: int, method: str = "", epochs: int = 0) -> dict[str, str]:
    """What to type for each thing that the page does, from any folder, where there is something to do it with.

    Args:
        project: which.
        round: whose model is taken home and maps slides; 0: there is none yet.
        method, epochs: of the full training, see `train_arguments`.

    Raises:
        DataError: there is no such round; SettingError: no such method.
    """
    export = typed(["data", "export", str(project.folder.resolve()), "--out", "labels"])
    train = typed(train_arguments(Path("labels"), Path("run"), method, epochs))
    found = {"labels": export, "train": f"{export} && {train}"}
    if round:
        run = model_folder(project, round).resolve()
        found["model"] = typed(["export", str(run), "--format", "zip", "--out", "model.zip"])
        found["segment"] = typed(segment_arguments(project, round))
    return found


def typed(arguments: Sequence[str]) -> str:
    """A command of ours as one line for a shell, whatever is in the names of files."""
    line = ["histoproto", *arguments]
    return subprocess.list2cmdline(line) if os.name == "nt" else shlex.join(line)
