"""The bytes and the text of a file that may be anything: a pipe, a folder, huge, compressed, in another encoding."""

from __future__ import annotations

import codecs
import gzip
import os
import stat
import zlib
from pathlib import Path
from typing import IO

from histoproto.errors import DocumentError

MIB = 1 << 20
_GZIP = b"\x1f\x8b"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16 does, so it comes before
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_bytes(path: Path, most: int = 16 * MIB, unpack: bool = False) -> bytes:
    """The content of a regular file, never more than `most` bytes of it in memory.

    Args:
        path: of the file.
        most: bytes it may have; unpacked, if it is compressed.
        unpack: whether it may be compressed with gzip, which shows in its first bytes.

    Raises:
        DocumentError: there is none, it is a folder, a pipe or a device, too large, or its compression is damaged.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DocumentError(f"{path} is a pipe or a device, expected a file")
            packed = unpack and file.read(2) == _GZIP
            file.seek(0)
            source: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if packed else file
            content = source.read(most + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DocumentError(f"{path} is a damaged gzip file ({error}); fetch or export it again") from error
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a path with a NUL
        raise DocumentError(f"{str(path)!r} cannot be read: {error}") from error
    if len(content) > most:
        unpacked = " unpacked" if packed else ""
        raise DocumentError(f"{path} has more than {most // MIB} MiB{unpacked}, the most that is read of such a file")
    return content


def as_text(content: bytes, path: Path | str) -> str:
    """Bytes as text: UTF-8, or what a byte-order mark says; `path` names them in the message.

    Raises:
        DocumentError: they are in another encoding, or no text at all.
    """
    mark, encoding = next(((m, e) for m, e in _MARKS if content.startswith(m)), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"{path}, line {line}: this is not {encoding.upper()}; save the file as UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DocumentError(f"{path}, line {line}: there is a NUL, so it is no text; save the file as UTF-8")
    return text


def read_text(path: Path, most: int = 16 * MIB) -> str:
    """The text of a file, see `read_bytes` and `as_text`."""
    return as_text(read_bytes(path, most), path)


def _without_waiting(path: str, flags: int) -> int:
    """Opening a pipe that nobody writes to would wait for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
