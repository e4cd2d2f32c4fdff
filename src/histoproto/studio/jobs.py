"""Whole commands beside the page, which live on when the server ends, and are found again by the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from histoproto.documents.shapes import read_json_as
from histoproto.errors import DataError, HistoProtoError, SettingError
from histoproto.files import replace_atomically
from histoproto.slides.many.progress import SlideProgress
from histoproto.studio.commands import segment_arguments, train_arguments, typed
from histoproto.studio.following import Stage, follow
from histoproto.studio.project import Project

REPORT_FILE = "report.html"
_WATCH = """
import signal
stops = []
signal.signal(signal.SIGINT, lambda *_: stops.append(1))  # for the command, which begins with the usual answer
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
import subprocess, sys
code, *command = sys.argv[1:]
child = subprocess.Popen(command)
while child.poll() is None:
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        if stops:  # some library that was being loaded has swallowed it
            child.send_signal(signal.SIGINT)
open(code, "w").write(str(child.returncode))
"""
"""Runs a command and writes down how it ended, for whoever looks later."""


@dataclass(frozen=True)
class Job:
    """A command: its arguments after `histoproto`, the process that watches it and when that was started."""

    arguments: list[str]
    process: int
    started: float

    @property
    def running(self) -> bool:
        """Whether that very process is alive; numbers of processes are used again."""
        with suppress(psutil.Error):
            found = psutil.Process(self.process)
            alive = found.status() != psutil.STATUS_ZOMBIE
            return bool(alive and abs(found.create_time() - self.started) < 5)
        return False


class Jobs:
    """The last command of each kind: `train` (fully, on all labels), `segment` (all slides with the last model)."""

    def __init__(self, project: Project):
        self.project = project
        self._children: list[subprocess.Popen[bytes]] = []  # of this server: awaited, so that none stays a zombie

    def start(self, kind: str, round: int, method: str = "", epochs: int = 0) -> None:
        """Begin a command beside.

        Args:
            kind: of command.
            round: whose model it uses, where it needs one.
            method: to train with; "": the default one.
            epochs: to train for; 0: as many as the command takes by itself.

        Raises:
            SettingError: there is no such kind or method, or one is running.
            DataError: nothing to train on, or no model yet.
        """
        if (job := self._last(kind)) and job[1].running:
            raise SettingError(f"this is running already: {typed(job[1].arguments)}")
        stamp = time.strftime("%Y%m%d-%H%M%S")
        if kind == "train":
            folder = self.project.folder.resolve()
            data = folder / "exports" / stamp
            arguments = train_arguments(data, folder / "models" / stamp, method, epochs)
            self.project.export_labels(data)
        elif kind == "segment":
            arguments = segment_arguments(self.project, round)
        else:
            raise SettingError(f"there is no job {kind!r}; there are train and segment")
        self._begin(self.project.folder / "logs" / f"{kind}-{stamp}.json", arguments)

    def _begin(self, file: Path, arguments: Sequence[str]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "histoproto", *arguments]
        # A stop must wait until the watcher has its answer to it: where the server ignores Ctrl-C, as what a script
        # starts in the background does, it would be lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with file.with_suffix(".log").open("wb") as log:
                child = subprocess.Popen(
                    [sys.executable, "-c", _WATCH, str(file.with_suffix(".code")), *command],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._children.append(child)
        with replace_atomically(file) as temporary:
            content = {"arguments": list(arguments), "process": child.pid, "started": time.time()}
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")

    def stop(self, kind: str) -> None:
        """End a command as Ctrl-C would, so that it can be resumed."""
        if (job := self._last(kind)) and job[1].running:
            with suppress(OSError):
                os.killpg(job[1].process, signal.SIGINT)

    def state(self) -> dict[str, Any]:
        """Of each kind: its exit code (None while it runs), its last words, the command to repeat it by hand, and while
        it maps slides, how far the slide in hand is.
        """
        for child in self._children:
            child.poll()
        return {kind: _told(*job) for kind in ("train", "segment") if (job := self._last(kind))}

    def training(self) -> list[Stage]:
        """How far the last full training has come, stage by stage; none: there is no such training."""
        job = self._last("train")
        return follow(_run(job[1])) if job else []

    def report(self) -> Path:
        """Of the last full training: a page with scores, curves and examples.

        Raises:
            DataError: there is none.
        """
        if (job := self._last("train")) and (path := _run(job[1]) / REPORT_FILE).is_file():
            return path
        raise DataError("there is no report; a full training writes one when it ends")

    def _last(self, kind: str) -> tuple[Path, Job] | None:
        for file in sorted((self.project.folder / "logs").glob(f"{kind}-*.json"), reverse=True):
            with suppress(HistoProtoError):  # of another version, or damaged: as if it had not been
                return file, read_json_as(file, Job)
        return None


def _run(job: Job) -> Path:
    return Path(job.arguments[job.arguments.index("--out") + 1])


def _told(file: Path, job: Job) -> dict[str, Any]:
    code: int | None = None
    if not job.running:
        code = -1  # it was killed before it could say
        with suppress(OSError, ValueError):
            code = int(file.with_suffix(".code").read_text(encoding="utf-8"))
    lines: list[str] = []
    with suppress(OSError):
        lines = file.with_suffix(".log").read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    told = [SlideProgress.of_line(line) for line in lines]
    last = next((one for one in reversed(told) if one), None)
    return {
        "code": code,
        "progress": vars(last) if last and code is None else None,
        "words": "\n".join([line for line, far in zip(lines, told, strict=True) if not far][-6:]),
        "command": typed(job.arguments),
        "report": "--out" in job.arguments and (_run(job) / REPORT_FILE).is_file(),
    }
