"""Writing files so that no half one is ever found under its final name, even after a power cut where that is promised.

Every file has the permissions that the user's umask gives (a library that makes its own temporary file would leave
0600), and what cannot be done is said with its reason.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from histoproto.errors import HistoProtoError, OutputError

_PARTIAL = re.compile(r"\..*\.partial(\.[^.]*)?")
_UNSUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV}
_BLOCK = 1 << 24


@contextmanager
def replace_atomically(path: Path, lasting: bool = False, former: Path | None = None) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, that becomes `path` when the block ends without an error.

    The temporary file is there already, empty, and may be written over or replaced.

    Args:
        path: the file to write.
        lasting: it must survive a power cut: file and folder are synchronised before and after the rename. That takes
            milliseconds, so it is for weights, cards, checkpoints and records, not for thousands of masks.
        former: where to keep the file that is replaced.

    Raises:
        OutputError: the folder cannot be made or written to, or the disk is full.
    """
    mark = f"{os.getpid()}-{secrets.token_hex(4)}"  # machines that share a folder may have processes of one number
    temporary = path.with_name(f".{path.stem[:40]}.{mark}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode & 0o777  # as umask and folder have it
        yield temporary
        if temporary.stat().st_mode & 0o777 != mode:
            temporary.chmod(mode)
        if lasting:
            _synchronise(temporary)
        if former is not None and path.exists():
            path.replace(former)
        temporary.replace(path)
        if lasting:
            _synchronise(path.parent)
    except HistoProtoError:
        raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    except Exception as error:
        # A library that writes by other means than Python's (safetensors) has an error of its own for a full disk.
        if (full := os.strerror(errno.ENOSPC)) not in str(error):
            raise
        raise OutputError(f"{path} cannot be written: {full}") from error
    finally:
        with suppress(OSError):  # never written, already renamed, or its folder is none
            temporary.unlink()


def reserve(path: Path, size: int) -> None:
    """Take the space of a file on the disk before it is mapped to memory.

    A mapped file with holes ends the process by a bus error as soon as the disk is full. Where the system cannot
    reserve (macOS, some network disks), zeros are written. A disk that compresses or copies on write may still fill up.

    Args:
        path: made if it is not there; longer content stays.
        size: in bytes.

    Raises:
        OutputError: there is not so much room, or the file cannot be written. Nothing is left of a file that was made.
    """
    new = not path.exists()
    try:
        with path.open("r+b" if not new else "wb") as file:
            free = shutil.disk_usage(path.parent).free
            if size - file.seek(0, os.SEEK_END) > free:  # or the system would first fill up what there is
                raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({free / 2**30:.1f} GiB are free)")
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except (AttributeError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in _UNSUPPORTED:
                    raise
                file.seek(0, os.SEEK_END)
                while (missing := size - file.tell()) > 0:
                    file.write(bytes(min(_BLOCK, missing)))
    except OSError as error:
        if new:
            path.unlink(missing_ok=True)
        raise OutputError(f"{path} ({size / 2**30:.1f} GiB) cannot be written: {error.strerror or error}") from error


def synchronise_tree(folder: Path, deep: bool = True) -> None:
    """Write a folder and all that is in it through to the disk, so that a power cut after its rename finds it whole.

    Without `deep`, only which names it holds.
    """
    for inside, _, names in os.walk(folder) if deep else [(folder, (), ())]:
        for name in names:
            _synchronise(Path(inside, name))
        _synchronise(Path(inside))


def sweep_partial(folder: Path) -> None:
    """Remove what dead processes left half-written directly in a folder; only for whoever holds the folder's lock."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if _PARTIAL.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def why_unreadable(path: Path) -> str | None:
    """Why a file cannot be opened ("Permission denied", say); None if it can be."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # nobody waits for a pipe
    except OSError as error:
        return error.strerror or str(error)
    return None


def _synchronise(path: Path) -> None:
    """Have the system write a file or folder to the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that can be written to but not read; some systems have no folders to open
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # some network disks cannot synchronise a folder
            raise
    finally:
        os.close(descriptor)
