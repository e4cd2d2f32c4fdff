"""A lock for each slide, between processes and machines."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from histoproto import lock as locks
from histoproto.slides.many.lock import slide_lock


def hold(out: Path, name: str) -> subprocess.Popen[str]:
    """Another process that holds the lock of a slide until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from histoproto.slides.many.lock import slide_lock\n"
        f"with slide_lock(Path({str(out)!r}), {name!r}): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_keeps_others_out_and_dies_with_its_process(tmp_path: Path) -> None:
    process = hold(tmp_path, "a")
    try:
        with slide_lock(tmp_path, "a") as lock:
            assert lock is None
        with slide_lock(tmp_path, "b") as lock:
            assert lock is not None
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / ".a.lock").exists()
    with slide_lock(tmp_path, "a") as lock:
        assert lock is not None
    assert not list(tmp_path.iterdir())


def test_a_silent_lock_of_another_machine_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SILENCE", 0.5)
    monkeypatch.setattr(locks, "HEARTBEAT", 0.1)
    with slide_lock(tmp_path, "a"):
        record = (tmp_path / ".a.lock").read_text()
    import socket

    elsewhere = record.replace(socket.gethostname(), "another-machine")
    assert elsewhere != record
    (tmp_path / ".a.lock").write_text(elsewhere)
    with slide_lock(tmp_path, "a") as lock:
        assert lock is None
    start = time.monotonic()
    with slide_lock(tmp_path, "a", wait=True) as lock:
        assert lock is not None
    assert 0.4 < time.monotonic() - start < 10
