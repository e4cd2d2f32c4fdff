"""Locks: who is kept out, who is taken for dead and when, and what a waiting process says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from histoproto import lock as locks
from histoproto.errors import RunError
from histoproto.lock import file_lock, folder_lock

HOLD = """
import sys, time
from pathlib import Path
from histoproto.lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SILENCE", 0.6)
    monkeypatch.setattr(locks, "HEARTBEAT", 0.1)
    monkeypatch.setattr(locks, "GRACE", 0.2)


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_at_once_and_a_killed_one_blocks_nobody(tmp_path: Path) -> None:
    process = hold(tmp_path / "run")
    try:
        begun = time.monotonic()
        with pytest.raises(RunError, match=rf"another process \({process.pid} on .*\) is at work in .*run;"):
            folder_lock(tmp_path / "run").__enter__()
        assert time.monotonic() - begun < 2 * locks.GRACE + 2
    finally:
        process.kill()
        process.wait()
    with folder_lock(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").exists()
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "4711\nanother-machine\n",
        "not a lock at all",
        "filelock/2\npid=1\nhost=x\nmode=lease\ntoken=a\nduration=7.0\n",
    ],
    ids=["empty", "two lines", "foreign", "another duration"],
)
def test_what_is_no_lock_of_ours_is_taken_over_after_the_same_silence(
    tmp_path: Path, content: str, quick: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "NOTE_AFTER", 0.3)
    path = tmp_path / ".a.lock"
    path.write_text(content)
    with file_lock(path) as lock:
        assert lock is None, "nobody has watched it yet"
    begun = time.monotonic()
    with file_lock(path, "forever") as lock:
        assert lock is not None
        assert 0.6 <= time.monotonic() - begun < 5
    assert not list(tmp_path.iterdir())
    assert "waiting for" in capsys.readouterr().err


def test_a_folder_whose_lock_is_of_another_machine_waits_for_a_sign_of_life(tmp_path: Path, quick: None) -> None:
    path = tmp_path / ".lock"
    with file_lock(path):
        record = path.read_text()
    elsewhere = record.replace(f"host={socket.gethostname()}", "host=another-machine")
    path.write_text(elsewhere)
    with folder_lock(tmp_path):
        pass  # silent: its machine is gone
    path.write_text(elsewhere)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.1):
            os.utime(path)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(RunError, match="on another-machine"):
            folder_lock(tmp_path).__enter__()
    finally:
        stop.set()
        thread.join()


def test_of_several_that_wait_for_a_dead_lock_one_at_a_time_has_it(tmp_path: Path, quick: None) -> None:
    path = tmp_path / ".a.lock"
    path.touch()
    inside, most, done = 0, 0, []
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with file_lock(path, "forever"):
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.05)
            with guard:
                inside -= 1
                done.append(True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(done) == 4
    assert most == 1


def test_a_folder_made_for_nothing_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), folder_lock(tmp_path / "a"):
        raise ValueError("no")
    assert not list(tmp_path.iterdir())
