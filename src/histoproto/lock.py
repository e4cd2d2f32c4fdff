"""Locks as files: they work between processes and between machines that share a folder, and die with their holder.

The file is created exclusively, which network file systems do as one step, and touched all the while
(`filelock.SoftFileLease`). That of a dead process is taken over: at once on the machine where it ran, elsewhere after
some minutes of silence. No clocks are compared: whoever wants the lock watches the file for that long. So it is with
files that are no record of a lock at all (empty after a power cut, say, or of another program).
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from histoproto.errors import OutputError, RunError

SILENCE = 180.0
"""Seconds without a sign of life after which the holder of a lock counts as dead."""
HEARTBEAT = 20.0
"""Seconds between two signs of life."""
GRACE = 2.0
"""Seconds in which a holder that is just ending is waited for."""
POLL = 1.0
NOTE_AFTER = 10.0
"""Seconds of waiting after which it is said what is waited for."""

LOCK_FILE = ".lock"
Patience = Literal["none", "while silent", "forever"]


@contextmanager
def file_lock(path: Path, patience: Patience = "none") -> Iterator[SoftFileLease | None]:
    """Hold the lock `path`; None where another process holds it.

    A holder that was taken for dead, because its machine slept, say, finds out by `compromise`.

    Args:
        path: of the lock; its folder is made.
        patience: how long to wait for it: not at all; until its holder shows a sign of life or counts as dead; or
            until it is free.

    Raises:
        OutputError: nothing can be written to the folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not local to a thread: the one that writes the results may release it.
        lock = SoftFileLease(path, thread_local=False, lease_duration=SILENCE, heartbeat_interval=HEARTBEAT)
        held = _acquire(lock, path, patience)
    except OSError as error:
        raise OutputError(f"the folder {path.parent} cannot be written: {error.strerror or error}") from error
    if not held:
        yield None
        return
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def folder_lock(folder: Path) -> Iterator[SoftFileLease]:
    """Be the only process that works in a folder, by `FOLDER/.lock`; a folder that was made and left empty goes again.

    Raises:
        RunError: another process is at work in it.
        OutputError: nothing can be written to it.
    """
    new = not folder.exists()
    try:
        with file_lock(folder / LOCK_FILE, "while silent") as lock:
            if lock is None:
                raise RunError(
                    f"another process {_holder(folder / LOCK_FILE)}is at work in {folder}; wait for its end, or give "
                    "another folder"
                )
            yield lock
    finally:
        if new:
            with suppress(OSError):  # not empty after success
                folder.rmdir()


def _acquire(lock: SoftFileLease, path: Path, patience: Patience) -> bool:
    begun, noted, watch = time.monotonic(), False, _Watch(path)
    while True:
        try:
            lock.acquire(timeout=0)
            return True
        except (Timeout, LeaseSettingsMismatch):
            waited = time.monotonic() - begun
        if patience == "none" or (patience == "while silent" and waited >= GRACE and watch.alive()):
            return False
        watch.break_if_silent()
        if waited > NOTE_AFTER and not noted:
            print(f"note: waiting for {path}; if its holder is gone, for {SILENCE:.0f} s in all", file=sys.stderr)
            noted = True
        time.sleep(min(POLL, SILENCE / 10))


class _Watch:
    """What a waiting process sees of a lock file."""

    def __init__(self, path: Path):
        self.path = path
        self.first = self.last = _state(path)
        self.since = time.monotonic()

    def alive(self) -> bool:
        """Whether the file was touched or replaced since the watch began, or its holder lives on this machine."""
        return self._look() != self.first or _lives_here(self.path)

    def break_if_silent(self) -> None:
        """Remove the file if nothing has happened to it for long; what is there in its place by then stays."""
        state = self._look()
        if state is None or time.monotonic() - self.since < 1.05 * SILENCE:  # a lease of ours expires before that
            return
        aside = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            self.path.rename(aside)
            if _state(aside) != state:
                with suppress(FileExistsError):
                    os.link(aside, self.path)
            aside.unlink()

    def _look(self) -> tuple[int, int, int] | None:
        state = _state(self.path)
        if state != self.last:
            self.last, self.since = state, time.monotonic()
        return state


def _state(path: Path) -> tuple[int, int, int] | None:
    with suppress(FileNotFoundError):
        found = path.lstat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None


def _fields(path: Path) -> dict[str, str]:
    """What a lock says of its holder, which may be nothing or nonsense."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace")[:4096].splitlines()
    except OSError:
        return {}
    return {key: value for key, equals, value in (line.partition("=") for line in lines) if equals}


def _lives_here(path: Path) -> bool:
    fields = _fields(path)
    try:
        if not fields["host"].startswith(socket.gethostname()):
            return False
        os.kill(int(fields["pid"]), 0)
    except PermissionError:
        return True  # it is another user's
    except (KeyError, ValueError, OverflowError, OSError):
        return False
    return True


def _holder(path: Path) -> str:
    fields = _fields(path)
    return f"({fields['pid']} on {fields['host']}) " if {"pid", "host"} <= fields.keys() else ""
