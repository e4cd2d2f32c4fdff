"""One slide, one process: a lock that works between processes and between machines that share a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

from histoproto.errors import OutputError

SILENCE = 180.0
"""Seconds without a sign of life after which the holder of a lock on another machine counts as dead."""
HEARTBEAT = 20.0
"""Seconds between two signs of life."""


@contextmanager
def slide_lock(out: Path, name: str, wait: bool = False) -> Iterator[SoftFileLease | None]:
    """Hold the lock of a slide, `OUT/.NAME.lock`; None where another process holds it.

    The file is created exclusively, which network file systems do as one step, and touched all the while. The lock of
    a dead process is taken over: at once on the machine where it ran, after some minutes of silence on another. No
    clocks are compared: whoever wants the lock watches for that long. A holder that was taken for dead, because its
    machine slept, say, finds out by `compromise`.

    Args:
        out: folder of all results.
        name: of the slide.
        wait: until the lock is free.

    Raises:
        OutputError: nothing can be written to `out`.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = SoftFileLease(
            _file(out, name),
            thread_local=False,  # the thread that writes the results releases it
            lease_duration=SILENCE,
            heartbeat_interval=HEARTBEAT,
        )
        lock.acquire(timeout=-1 if wait else 0, poll_interval=1)
    except Timeout:
        yield None
        return
    except OSError as error:
        raise OutputError(f"the folder {out} cannot be written: {error.strerror or error}") from error
    try:
        yield lock
    finally:
        lock.release()


def clear_lock(out: Path, name: str) -> None:
    """Remove the lock of a finished slide if its holder was killed before it could; leave that of a living one."""
    if _file(out, name).exists():
        with slide_lock(out, name):
            pass


def _file(out: Path, name: str) -> Path:
    return out / f".{name}.lock"
