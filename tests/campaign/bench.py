"""Where bad inputs are tried: a process that runs commands, and a folder of good inputs, made once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30
TESTS = Path(__file__).parents[1]
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
        ):
            if sign in self.output:
                return what
        if self.code not in (0, 2):
            return f"exit code {self.code}"
        if self.code == 2 and not any(sign in self.output for sign in ("error:", "Error")):
            return "exit code 2 without a sentence"
        return None


class Bench:
    """Runs commands, each in a folder of its own."""

    def __init__(self, good: Path):
        self.good = good
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "200",
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
            "PYTHONUTF8": "1",
        }
        self.server = subprocess.Popen(
            [sys.executable, "-m", "campaign.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(self, folder: Path, arguments: list[str], seconds: float = 60, memory: int = 4 * GIB) -> Result:
        """Run a command in `folder`, with that much time and memory beyond what importing everything takes."""
        files = folder / "..stdout", folder / "..stderr"
        job = {
            "arguments": arguments,
            "folder": str(folder),
            "seconds": seconds,
            "memory": memory,
            "stdout": str(files[0]),
            "stderr": str(files[1]),
        }
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        found = json.loads(self.server.stdout.readline())
        output = "".join(file.read_text(encoding="utf-8", errors="replace") for file in files)
        for file in files:
            file.unlink()
        return Result(found["code"], output, found["seconds"])

    def prepare(self, folder: Path, names: list[str]) -> None:
        """Copy good inputs to where a command will find them."""
        for name in names:
            source = self.good / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)

    def close(self) -> None:
        """End the process."""
        self.server.kill()
        self.server.wait()
