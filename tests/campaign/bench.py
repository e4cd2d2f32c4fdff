"""Where bad inputs are tried: commands as processes, and a folder of good inputs, made once."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from forks import histoproto, start

GIB = 1 << 30
LAST_RESORT = "fault of HistoProto"
"""What the command line says of an exception that nobody has made a sentence of."""


@dataclass(frozen=True)
class Result:
    """What a command came to: its exit code (None: it hung), what it printed, and how long it took."""

    code: int | None
    output: str
    seconds: float

    @property
    def fault(self) -> str | None:
        """What is wrong with it, whatever the input was; None: nothing."""
        if self.code is None:
            return f"hangs: nothing after {self.seconds:.0f} s"
        for sign, what in (
            ("Traceback", "a traceback"),
            (LAST_RESORT, "the last resort"),
            ("unexpected ", "the last resort"),
            ("MemoryError", "memory"),
            ("Aborted", "Aborted"),
            ("\x1b", "a command to the terminal"),
        ):
            if sign in self.output:
                return what
        if self.code not in (0, 2):
            return f"exit code {self.code}"
        if self.code == 2 and not any(sign in self.output for sign in ("error:", "Error")):
            return "exit code 2 without a sentence"
        return None


class Bench:
    """Runs commands, each in a folder and a process of its own."""

    def __init__(self, good: Path):
        self.good = good

    def run(self, folder: Path, arguments: list[str], seconds: float = 60, memory: int = 4 * GIB) -> Result:
        """Run a command in `folder`, with that much time and memory beyond what importing everything takes."""
        started = time.monotonic()
        environment = {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "PYTHONUTF8": "1"}
        process = start(histoproto, *arguments, cwd=folder, environment=environment, memory=memory)
        try:
            output = "".join(process.communicate(seconds))
        except subprocess.TimeoutExpired:
            output = ""
        code = process.poll()
        process.kill_all()
        return Result(code, output, time.monotonic() - started)

    def prepare(self, folder: Path, names: list[str]) -> None:
        """Copy good inputs to where a command will find them."""
        for name in names:
            source = self.good / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
