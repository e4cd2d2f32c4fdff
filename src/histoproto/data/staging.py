"""Writing a folder so that it is never found half-written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from histoproto.errors import OutputError
from histoproto.files import synchronise_tree
from histoproto.lock import folder_lock

_PART = ".part-"


@contextmanager
def staged_folder(out: Path, added_to: Sequence[str] = ()) -> Iterator[Path]:
    """A hidden folder inside `out` whose content is moved into `out` on success and removed otherwise.

    What dead processes have left of such folders is removed.

    Args:
        out: made if it is not there.
        added_to: names of files that hold what was in `out` before, and more, so that they may replace it.

    Raises:
        OutputError: `out` cannot be made or written, or holds a file of the same name that is another.
        RunError: another process is writing to it.
    """
    try:
        with folder_lock(out):
            for leftover in out.glob(f"{_PART}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=_PART, dir=out) as part:
                yield Path(part)
                items = sorted(Path(part).iterdir())
                for item in items:
                    if item.name not in added_to and _is_in_the_way(out / item.name, item):
                        raise OutputError(f"{out / item.name} is there already; remove it or choose another folder")
                for item in items:
                    target = out / item.name
                    if item.is_dir() and target.is_dir():
                        target.rmdir()  # not every system renames onto an empty folder; a full one is an error
                    item.replace(target)
    except OSError as error:
        raise OutputError(f"the folder {out} cannot be written: {error.strerror or error}") from error


def _is_in_the_way(target: Path, item: Path) -> bool:
    """Whether something would be lost if `item` took its place: a file of other content."""
    return target.is_file() and (item.is_dir() or target.read_bytes() != item.read_bytes())


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` that becomes `out` in one rename on success and is removed otherwise.

    Unlike `staged_folder`, it leaves all or nothing even after a kill or a power cut, and `out` must not be there. On
    failure a parent that had to be made goes, too, unless something else is in it.

    Raises:
        OutputError: `out` cannot be made or written.
    """
    part = out.with_name(f".{out.name}.{os.getpid()}.partial")
    new = not out.parent.exists()
    try:
        part.mkdir(parents=True)
        yield part
        synchronise_tree(part)
        part.rename(out)
        synchronise_tree(out.parent, deep=False)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if new:
            with suppress(OSError):  # not empty after success
                out.parent.rmdir()


def refuse_if_filled(folder: Path) -> None:
    """Raise an `OutputError` if something is in the way of a folder that is to be written; hidden files are not.

    A device, a pipe or a dead link is: a rename would replace it.
    """
    is_folder = folder.is_dir()
    if (is_folder and any(path.name[0] != "." for path in folder.iterdir())) or (
        not is_folder and os.path.lexists(folder)
    ):
        raise OutputError(f"{folder} is there already and not empty; remove it or choose another folder")
