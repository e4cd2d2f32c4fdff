"""One slide, one process: a lock that works between processes and between machines that share a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease

from histoproto.lock import file_lock


@contextmanager
def slide_lock(out: Path, name: str, wait: bool = False) -> Iterator[SoftFileLease | None]:
    """Hold the lock of a slide, `OUT/.NAME.lock`; None where another process holds it (see `histoproto.lock`).

    Args:
        out: folder of all results.
        name: of the slide.
        wait: until the lock is free.

    Raises:
        OutputError: nothing can be written to `out`.
    """
    with file_lock(_file(out, name), "forever" if wait else "none") as lock:
        yield lock


def clear_lock(out: Path, name: str) -> None:
    """Remove the lock of a finished slide if its holder was killed before it could; leave that of a living one."""
    if _file(out, name).exists():
        with slide_lock(out, name):
            pass


def _file(out: Path, name: str) -> Path:
    return out / f".{name}.lock"
