"""A killed parent takes along what it has started, and what that has started, also where SIGTERM is ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import os, signal, subprocess, sys, time
from histoproto.compare import parent
parent.PATIENCE = 1
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
parent.end_with_parent()
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
print(os.getpid(), grandchild.pid, flush=True)
time.sleep(120)
"""
PARENT = """
import subprocess, sys, time
from histoproto.compare.parent import start
children = [start([sys.executable, "-c", sys.argv[1], kind], start_new_session=True) for kind in ("plain", "deaf")]
time.sleep(120)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(found.strip()) and not found.startswith("Z")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_children_and_grandchildren_end_with_a_killed_parent(how: signal.Signals, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=out)
    pids: list[int] = []
    for _ in range(600):
        pids = [int(pid) for pid in (tmp_path / "out").read_text().split()]
        if len(pids) == 4:
            break
        time.sleep(0.1)
    assert len(pids) == 4
    assert all(map(alive, pids))
    parent.send_signal(how)
    parent.wait()
    try:
        for _ in range(300):
            if not any(map(alive, pids)):
                break
            time.sleep(0.1)
        assert not any(map(alive, pids))
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)
