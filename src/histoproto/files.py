"""Writing files so that no half one is ever found under its final name."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from histoproto.errors import HistoProtoError, OutputError


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, that becomes `path` when the block ends without an error.

    Raises:
        OutputError: the folder cannot be made or written to, or the disk is full.
    """
    mark = f"{os.getpid()}-{secrets.token_hex(4)}"  # machines that share a folder may have processes of one number
    temporary = path.with_name(f".{path.stem}.{mark}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
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
