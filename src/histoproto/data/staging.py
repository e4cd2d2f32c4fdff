"""Writing a folder so that it is never found half-written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from histoproto.errors import OutputError


@contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """A hidden folder inside `out` whose content is moved into `out` on success and removed otherwise.

    Raises:
        OutputError: `out` cannot be made or written.
    """
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=out) as part:
            yield Path(part)
            for item in sorted(Path(part).iterdir()):
                target = out / item.name
                if item.is_dir() and target.is_dir():
                    target.rmdir()  # not every system renames onto an empty folder; a full one is an error
                item.replace(target)
    except OSError as error:
        raise OutputError(f"the folder {out} cannot be written: {error.strerror or error}") from error
    finally:
        if new:
            with suppress(OSError):  # not empty after success
                out.rmdir()


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` that becomes `out` in one rename on success and is removed otherwise.

    Unlike `staged_folder`, it leaves all or nothing even if the process is killed, and `out` must not be there. On
    failure a parent that had to be made goes, too, unless something else is in it.

    Raises:
        OutputError: `out` cannot be made or written.
    """
    part = out.with_name(f".{out.name}.{os.getpid()}.partial")
    new = not out.parent.exists()
    try:
        part.mkdir(parents=True)
        yield part
        part.rename(out)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if new:
            with suppress(OSError):  # not empty after success
                out.parent.rmdir()


def refuse_if_filled(folder: Path) -> None:
    """Raise an `OutputError` if something is in the way of a folder that is to be written."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise OutputError(f"{folder} is there already and not empty; remove it or choose another folder")
