"""DICOM whole slides that OpenSlide refuses because attributes are missing: all files of a series are one slide.

wsidicom refuses them for the same reason, so that it would add nothing here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoproto.errors import ImageError
from histoproto.printable import one_line
from histoproto.slides.reading.dicom_file import DicomFile, aside, series_of
from histoproto.slides.reading.mosaic import TileCache, cut_from_tiles
from histoproto.slides.reading.protocol import Level, Pixels, SlideReader

SEAMS = 16
"""That are looked at to find the order of frames."""
SAME_SHAPE = 0.02
"""Relative difference of the proportions of two levels, beyond rounding, above which they show different things."""


class DicomSlide(SlideReader):
    """A DICOM whole slide, tiled in full: the levels and the parts of levels that lie beside the file that is named.

    Frames go row by row. A file that does not say so (no DimensionOrganizationType) may also hold them column by
    column; then the order is taken in which neighbours fit better.

    Raises:
        ImageError: a file of the series is no such file, a part is missing, or several images could be meant.
        pydicom.errors.InvalidDicomError: it is no DICOM file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.format, self.notes = path, "DICOM", []
        self._cache = TileCache()
        self._files = [DicomFile(path)]
        try:
            self._open_series()
            self._levels = _levels_of(self._files, path)
            height, width = self._levels[0].size
            self.levels = tuple(
                Level(wide, high, (width / wide + height / high) / 2)
                for high, wide in (one.size for one in self._levels)
            )
            self.stated, self.vendor = self._levels[0].files[0].stated, self._levels[0].files[0].vendor
            if len(self._files) > 1:
                self.notes.append(f"{len(self._files)} files of its series are read as one slide")
            if not all(file.ordered for file in self._files):
                self.notes.append("it does not say in which order its tiles lie; neighbours were fitted together")
        except BaseException:
            self.close()
            raise

    def read_level(self, level: int, left: int, top: int, width: int, height: int) -> Pixels:
        """See `SlideReader`."""
        one = self._levels[level]

        def frame(row: int, column: int) -> Pixels:
            index = int(one.order[row, column])
            return self._cache.get((level, index), lambda: one.decode(index))

        return cut_from_tiles(frame, one.files[0].tile, left, top, width, height)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def _open_series(self) -> None:
        """Open the other files of the series, which lie in the same folder."""
        series, beside = series_of(self.path), []
        others = sorted(self.path.parent.iterdir()) if series else []
        for other in others:
            if other.is_file() and not other.samefile(self.path) and series_of(other) == series:
                if shows := aside(other):
                    beside.append(shows)
                    continue
                file = DicomFile(other)
                if file.instance in {known.instance for known in self._files}:
                    file.close()
                    self.notes.append(f"{one_line(other.name)} is a copy of another file of its series")
                else:
                    self._files.append(file)
        self.beside = tuple(beside)


class _Level:
    """One level, of one file or of several that follow each other."""

    def __init__(self, files: list[DicomFile]) -> None:
        self.files, self.size = files, files[0].size
        self._frames = [(file, index) for file in files for index in range(file.frames)]
        rows, columns = (-(-side // tile) for side, tile in zip(self.size, files[0].tile, strict=True))
        if len(self._frames) != rows * columns:
            raise ImageError(
                f"{files[0].path} holds {len(self._frames)} frames, expected {rows * columns}; it is sparse"
            )
        self.order = np.arange(rows * columns).reshape(rows, columns)
        if not all(file.ordered for file in files):
            by_column = np.arange(rows * columns).reshape(columns, rows).T
            self.order = min((self.order, by_column), key=self._roughness)

    def decode(self, index: int) -> Pixels:
        """A frame by its number in the level."""
        file, number = self._frames[index]
        return file.decode(number)

    def _roughness(self, order: NDArray[np.intp]) -> float:
        """Mean difference, in grey levels, across some vertical seams if the frames lie in that order."""
        pairs = np.stack([order[:, :-1].ravel(), order[:, 1:].ravel()], axis=1)
        some = pairs[np.unique(np.linspace(0, len(pairs) - 1, SEAMS).astype(int))] if len(pairs) else pairs
        steps = [
            self.decode(left)[:, -1].astype(float) - self.decode(right)[:, 0].astype(float) for left, right in some
        ]
        return float(np.abs(steps).mean()) if steps else 0.0


def _levels_of(files: list[DicomFile], path: Path) -> list[_Level]:
    """The levels that files make, the finest first."""
    parts: dict[str, list[DicomFile]] = {}
    for file in files:
        parts.setdefault(file.part_of or file.instance, []).append(file)
    levels = sorted(map(_whole, parts.values()), key=lambda level: -level.size[0] * level.size[1])
    (height, width), names = levels[0].size, [level.files[0].path.name for level in levels]
    for level, finer, name, other in zip(levels[1:], levels, names[1:], names, strict=False):
        high, wide = level.size
        if level.size == finer.size:
            raise ImageError(
                f"{path}: {other} and {name} of its series are both {wide} × {high} pixels; keep one of them"
            )
        if abs((width / wide) / (height / high) - 1) > SAME_SHAPE + 1 / wide + 1 / high:
            raise ImageError(
                f"{path}: {names[0]} ({width} × {height} pixels) and {name} ({wide} × {high}) of its series are not "
                "one picture at two sizes; move the one that is not meant to another folder"
            )
    return levels


def _whole(parts: list[DicomFile]) -> _Level:
    """A level from all of its parts.

    Raises:
        ImageError: one is missing.
    """
    parts = sorted(parts, key=lambda file: (file.first, file.part))
    expected = max(len(parts), *(file.part[1] for file in parts))
    starts = np.cumsum([0, *(file.frames for file in parts[:-1])]).tolist()
    if len(parts) != expected or [file.part[0] for file in parts] != list(range(1, expected + 1)):
        names = ", ".join(file.path.name for file in parts[:5])
        raise ImageError(
            f"{parts[0].path} is part of a slide in {expected} files (a concatenation), of which {len(parts)} are "
            f"there: {names}; put all of them into one folder"
        )
    gaps = any(file.first not in (0, start) for file, start in zip(parts, starts, strict=True))
    if gaps or len({(file.size, file.tile) for file in parts}) > 1:
        raise ImageError(f"{parts[0].path} is part of a slide in {expected} files that do not fit together")
    return _Level(parts)
