"""A label map of any size, kept in a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from histoproto.errors import OutputError

Labels = NDArray[np.uint8]


class LabelRaster:
    """A uint8 label map H×W in a file of plain bytes, row by row; in memory only where it is read or written.

    Plain reads and writes, and no memory map: the pages of a map count as memory of the process and grow with the file.
    A context manager. Threads may share it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with LabelRaster.create(Path(folder) / "labels", 3, 4, fill=9) as raster:
    ...         raster.write(1, 2, np.array([[5, 6]], dtype=np.uint8))
    ...         raster.read(0, 1, 2, 3).tolist()
    [[9, 9, 9], [9, 5, 6]]
    """

    def __init__(self, path: Path, height: int, width: int, file: FileIO) -> None:
        self.path, self.height, self.width = path, height, width
        self._file = file
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: Path, height: int, width: int, fill: int = 0) -> LabelRaster:
        """A new raster full of one label; a file of that name is replaced.

        Raises:
            ValueError: a side is below 1.
            OutputError: the file cannot be written, or the disk has no room for all of it.
        """
        if height < 1 or width < 1:
            raise ValueError(f"a raster of {height} × {width} pixels is none")
        try:
            with path.open("wb") as file:
                row = bytes([fill]) * width
                rows = max(1, min(height, (1 << 20) // width))
                for top in range(0, height, rows):
                    file.write(row * min(rows, height - top))
        except OSError as error:
            raise _unwritten(path, error) from error
        return cls.open(path, height, width)

    @classmethod
    def open(cls, path: Path, height: int, width: int) -> LabelRaster:
        """A raster that is there already, to read and write.

        Raises:
            ValueError: the file is not of that size.
        """
        if path.stat().st_size != height * width:
            raise ValueError(f"{path} holds {path.stat().st_size} bytes, expected {height} × {width}")
        return cls(path, height, width, path.open("r+b", buffering=0))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    def write(self, top: int, left: int, block: Labels) -> None:
        """Put a block (h×w) at that place.

        Raises:
            ValueError: it does not lie within the raster.
            OutputError: the disk is full.
        """
        height, width = block.shape
        self._check(top, left, height, width)
        data = np.ascontiguousarray(block, dtype=np.uint8)
        try:
            if width == self.width:
                self._write(top * self.width, data.reshape(-1).data)
            else:
                for y in range(height):
                    self._write((top + y) * self.width + left, data[y].data)
        except OSError as error:
            raise _unwritten(self.path, error) from error

    def read(self, top: int, left: int, height: int, width: int) -> Labels:
        """The block of that place and size, a copy.

        Raises:
            ValueError: it does not lie within the raster.
        """
        self._check(top, left, height, width)
        block = np.empty((height, width), dtype=np.uint8)
        if width == self.width:
            self._read(top * self.width, block.reshape(-1).data)
        else:
            for y in range(height):
                self._read((top + y) * self.width + left, block[y].data)
        return block

    def rows(self, step: int) -> Iterator[tuple[int, Labels]]:
        """(top, block) from top to bottom, `step` rows at a time over the whole width; the last may be lower."""
        for top in range(0, self.height, step):
            yield top, self.read(top, 0, min(step, self.height - top), self.width)

    def close(self) -> None:
        """Close the file, which stays."""
        self._file.close()

    def __enter__(self) -> LabelRaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, top: int, left: int, height: int, width: int) -> None:
        if min(top, left, height, width) < 0 or top + height > self.height or left + width > self.width:
            raise ValueError(f"{height} × {width} at {(top, left)} is not within a raster of {self.shape}")

    def _read(self, offset: int, target: memoryview) -> None:
        with self._lock:
            self._file.seek(offset)
            while target:
                count = self._file.readinto(target)
                if not count:
                    raise ValueError(f"{self.path} has become shorter while it was read")
                target = target[count:]

    def _write(self, offset: int, source: memoryview) -> None:
        with self._lock:
            self._file.seek(offset)
            while source:
                source = source[self._file.write(source) :]


def _unwritten(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path} cannot be written: {error.strerror or error}")
