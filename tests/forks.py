"""Processes without the price of starting them: forks of one that has imported everything.

Python, torch and what is around them take 3 to 10 s to start. A fork of a process that has them takes some hundredths,
and keeps apart whatever is done in it, to the point of being killed. What is about starting itself, about the
environment that libraries look at when they are imported, or about memory, needs `subprocess`.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

PRELOADED = [
    "__main__",
    "histoproto.cli.app",
    "histoproto.training.run",
    "histoproto.slides.many.batch",
    "histoproto.compare.session",
    "histoproto.report.html",
    "histoproto.inference.predict",
    "histoproto.evaluation.colour",
    "timm",
    "onnxruntime",
    "histoproto.slides.patches.annotated",
    "histoproto.slides.patches.unlabelled",
    "histoproto.data.check",
]


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class Forked:
    """What the tests use of `subprocess.Popen`."""

    def __init__(self, process: Any, name: str, output: Path):
        self.process, self.name, self.output = process, name, output
        self.pid = int(process.pid)

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it works."""
        return self.process.exitcode

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed, when it has ended."""
        self.process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(self.name, timeout or 0)
        out, err = (_printed(self.output / name) for name in ("out", "err"))
        return out, err

    def send_signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def kill_all(self) -> None:
        """With what it has started and left behind."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def start(
    function: Callable[..., object],
    *arguments: object,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    memory: int | None = None,
) -> Forked:
    """Call a function of a module of these tests in a process of its own.

    Args:
        function: is named to the process, not sent: of a module that can be imported, not of a `test_….py`.
        arguments: of the function.
        cwd: where it works.
        environment: variables beside ours.
        memory: bytes beyond what importing everything takes.
    """
    output = Path(tempfile.mkdtemp(prefix="forked"))
    os.umask(mask := os.umask(0o077))  # which a fork of another process knows nothing of
    given = (function, arguments, output, cwd or Path.cwd(), {**os.environ, **(environment or {})}, mask, memory)
    process = _context().Process(target=_become, args=given)
    process.start()
    return Forked(process, getattr(function, "__name__", str(function)), output)


def run(
    function: Callable[..., object], *arguments: object, timeout: float = 300, **more: Any
) -> subprocess.CompletedProcess[str]:
    """As `start`, to its end."""
    process = start(function, *arguments, **more)
    try:
        out, err = process.communicate(timeout)
    finally:
        process.kill_all()
    return subprocess.CompletedProcess([process.name, *arguments], process.poll() or 0, out, err)


def histoproto(*words: object) -> None:
    """The command line; `start(histoproto, "train", …)` is what a shell does with `histoproto train …`."""
    from histoproto.cli import main

    sys.argv = ["histoproto", *map(str, words)]
    main()


def _become(
    function: Callable[..., object],
    arguments: tuple[object, ...],
    output: Path,
    cwd: Path,
    environment: dict[str, str],
    mask: int,
    memory: int | None,
) -> None:
    """Never returns."""
    code = 1
    try:
        os.setsid()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # die with the process that is forked, and so with the tests
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(cwd)
        os.umask(mask)
        for number, path in ((0, os.devnull), (1, output / "out"), (2, output / "err")):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            os.dup2(os.open(path, flags, 0o600), number)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
        if memory is not None:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + memory
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
        function(*arguments)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


def _printed(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
