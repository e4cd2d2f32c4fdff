"""Processes beside the server: told over a pipe what to do, their words in a log of the project."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

Work = Callable[[Path, Connection], None]
"""What a process does: it is given the folder of the project, and the pipe."""


def begin(work: Work, folder: Path) -> tuple[Any, Connection]:
    """Begin a process, which ends with the server at the latest; the process, and the server's end of the pipe."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(folder, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


@contextlib.contextmanager
def logged(folder: Path, name: str) -> Iterator[TextIO]:
    """In such a process: what is printed goes to `logs/NAME` of the project, and Ctrl-C is left to the server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (folder / "logs").mkdir(exist_ok=True)
    with (
        (folder / "logs" / name).open("w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        yield log
