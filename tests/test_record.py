"""What a run's record says of the machine."""

import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from histoproto.record import peak_memory_mib

CHILD = "from histoproto.record import peak_memory_mib; print(peak_memory_mib())"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of one program")
def test_peak_memory_is_not_that_of_the_parent() -> None:
    """A parent that holds 1.5 GiB and one that holds nothing have children of the same size."""
    parent = (
        "import os, subprocess, sys\nheld = b'x' * (int(sys.argv[1]) << 20)\npid = os.fork()\n"
        "if pid == 0: os.execv(sys.executable, [sys.executable, '-c', sys.argv[2]])\nos.waitpid(pid, 0)"
    )

    def child_of(mib: int) -> float:
        command = [sys.executable, "-c", parent, str(mib), CHILD]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert child_of(1536) < child_of(0) + 200


def test_peak_memory_counts_what_was_freed() -> None:
    before = peak_memory_mib()
    held = bytearray(b"x") * (int(before + 256) << 20)
    del held
    assert peak_memory_mib() > before + 200


@pytest.mark.parametrize(("system", "unit"), [("darwin", 1), ("freebsd", 1024)])
def test_peak_memory_elsewhere(system: str, unit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `/proc`; macOS counts bytes, others KiB."""

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=300 * 2**20 // unit))
    assert peak_memory_mib() == 300
