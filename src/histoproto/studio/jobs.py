"""Whole commands beside the page, which live on when the server ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from histoproto.errors import SettingError
from histoproto.studio.learning import model_folder
from histoproto.studio.project import Project


class Command:
    """A `histoproto` command in a process that lives on when the server ends; its words go to a log file."""

    def __init__(self, arguments: Sequence[str], log: Path):
        self.arguments, self.log = list(arguments), log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "histoproto", *self.arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it as Ctrl-C would, so that it can be resumed."""
        if self.code is None:
            self._process.send_signal(signal.SIGINT)

    def last_words(self, lines: int = 5) -> str:
        """The end of what it has printed."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.replace("\r", "\n").splitlines()[-lines:])


class Jobs:
    """The last command of each kind: `train` (fully, on all labels), `segment` (all slides with the last model)."""

    def __init__(self, project: Project):
        self.project = project
        self._commands: dict[str, Command] = {}

    def start(self, kind: str, round: int) -> None:
        """Begin a command beside, with the model of a round where it needs one.

        Raises:
            SettingError: there is no such kind, or one is running.
            DataError: nothing to train on, or no model yet.
        """
        project = self.project
        if (job := self._commands.get(kind)) and job.code is None:
            raise SettingError(f"this is running already: histoproto {' '.join(job.arguments)}")
        stamp = time.strftime("%Y%m%d-%H%M%S")
        if kind == "train":
            data = project.folder / "exports" / stamp
            project.export_labels(data, checks=True)
            arguments = ["train", str(data), "--out", str(project.folder / "models" / stamp)]
        elif kind == "segment":
            slides = [str(slide.path) for slide in project.store.slides()]
            run = model_folder(project, round)
            arguments = ["segment", str(run), *slides, "--out", str(project.folder / "maps" / f"{round:04d}")]
        else:
            raise SettingError(f"there is no job {kind!r}; there are train and segment")
        self._commands[kind] = Command(arguments, project.folder / "logs" / f"{kind}-{stamp}.log")

    def stop(self, kind: str) -> None:
        """End a command as Ctrl-C would."""
        if job := self._commands.get(kind):
            job.stop()

    def state(self) -> dict[str, Any]:
        """Of each kind: its exit code (None while it runs), its last words, and the command to repeat it by hand."""
        return {
            kind: {"code": job.code, "words": job.last_words(), "command": " ".join(["histoproto", *job.arguments])}
            for kind, job in self._commands.items()
        }
