"""A chunk: a file of features that is written once and never changed.

Two NumPy arrays, one after the other: a table of names and check sums, and half-precision features, one row each, which
are read by memory map. It is written in full (not through a map, which a full disk would answer with a signal), under
another name, and renamed; what was cut off or altered later is noticed by its length and check sums.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoproto.features.views import KEY_BYTES
from histoproto.files import replace_atomically

SUFFIX = ".features"
_TABLE = np.dtype([("key", "u1", KEY_BYTES), ("check", "<u4")])
Rows = NDArray[np.float16]


def write_chunk(path: Path, keys: list[bytes], rows: Rows) -> None:
    """Write N features, N×L, under their names.

    Raises:
        OutputError: the disk is full, or the folder cannot be written to.
    """
    table = np.zeros(len(keys), dtype=_TABLE)
    table["key"] = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY_BYTES)
    table["check"] = [zlib.crc32(row.tobytes()) for row in rows]
    with replace_atomically(path) as temporary, temporary.open("wb") as file:
        for array in (table, rows):
            header = np.lib.format.header_data_from_array_1_0(array)
            np.lib.format.write_array_header_1_0(file, header)
            file.write(array.tobytes())


class Chunk:
    """A chunk that was opened.

    Attributes:
        keys: names of its rows.
    """

    def __init__(self, path: Path, length: int):
        """Open a file of features of `length` numbers.

        Raises:
            ValueError: it is damaged or something else.
            OSError: it cannot be read, or is gone.
        """
        with path.open("rb") as file:
            shapes = [_header(file, _TABLE)]
            table = np.frombuffer(file.read(shapes[0][0] * _TABLE.itemsize), dtype=_TABLE)
            shapes.append(_header(file, np.dtype("<f2")))
            start = file.tell()
        if len(table) != shapes[0][0] or shapes[1] != (len(table), length):
            raise ValueError("it is cut off or of another encoder")
        self.path = path
        self.keys = [bytes(name) for name in table["key"]]
        self._checks = table["check"]
        self._rows: Rows = np.memmap(path, np.float16, mode="r", offset=start, shape=shapes[1])
        self._sound = np.zeros(len(table), dtype=bool)

    def row(self, index: int) -> Rows:
        """A row, L.

        Raises:
            ValueError: it is not what was written.
        """
        row = np.array(self._rows[index])
        if not self._sound[index]:
            if zlib.crc32(row.tobytes()) != self._checks[index]:
                raise ValueError("its check sum is wrong")
            self._sound[index] = True
        return row


def _header(file: object, kind: np.dtype[np.void] | np.dtype[np.float16]) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
    if version != (1, 0):
        raise ValueError("it is of another version")
    shape, _, found = np.lib.format.read_array_header_1_0(file)  # type: ignore[arg-type]
    if found != kind:
        raise ValueError("it holds something else")
    return shape
