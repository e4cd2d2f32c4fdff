"""DICOM whole slides that OpenSlide refuses because attributes are missing, through pydicom.

wsidicom refuses them for the same reason, so that it would add nothing here.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import parse_basic_offsets, parse_fragments

from histoproto.errors import ImageError
from histoproto.slides.reading.mosaic import TileCache, cut_from_tiles
from histoproto.slides.reading.protocol import Level, Pixels, SlideReader, plausible

SEAMS = 16
"""That are looked at to find the order of frames."""


class DicomSlide(SlideReader):
    """One level of a DICOM whole slide, tiled in full, each frame compressed as JPEG or JPEG 2000.

    Frames go row by row. A file that does not say so (no DimensionOrganizationType) may also hold them column by
    column; then the order is taken in which neighbours fit better.

    Raises:
        ImageError: it is no such file.
        pydicom.errors.InvalidDicomError: it is no DICOM file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()  # of the position in the file; decoding runs outside of it
        self._cache = TileCache()
        self._file = path.open("rb")
        try:
            with pydicom.config.disable_value_validation():
                header = pydicom.dcmread(self._file, stop_before_pixels=True)
                self._tile = _positive(header, path, "Rows"), _positive(header, path, "Columns")
                height = _positive(header, path, "TotalPixelMatrixRows")
                width = _positive(header, path, "TotalPixelMatrixColumns")
                self.mpp = plausible(_spacing_mpp(header))
            self.levels = (Level(width, height, 1.0),)
            rows, columns = -(-height // self._tile[0]), -(-width // self._tile[1])
            self._frames = self._find_frames(rows * columns)
            self._order = np.arange(rows * columns).reshape(rows, columns)
            if header.get("DimensionOrganizationType") is None:
                by_column = np.arange(rows * columns).reshape(columns, rows).T
                self._order = min((self._order, by_column), key=self._roughness)
        except BaseException:
            self._file.close()
            raise

    def read_level(self, level: int, left: int, top: int, width: int, height: int) -> Pixels:
        """See `SlideReader`."""

        def frame(row: int, column: int) -> Pixels:
            index = int(self._order[row, column])
            return self._cache.get(index, lambda: self._decode(index))

        return cut_from_tiles(frame, self._tile, left, top, width, height)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _find_frames(self, count: int) -> list[tuple[int, int]]:
        """Start and length in the file of each frame, row by row."""
        head = self._file.read(12)  # tag, kind and the length of the element, which is not known beforehand
        if head[:4] != b"\xe0\x7f\x10\x00" or head[8:] != b"\xff\xff\xff\xff":
            raise ImageError(f"{self.path} holds no compressed frames, expected a whole slide in JPEG or JPEG 2000")
        parse_basic_offsets(self._file)
        found, starts = parse_fragments(self._file)
        if found != count:
            raise ImageError(
                f"{self.path} holds {found} frames, expected {count}; it is sparse, damaged or not a slide"
            )
        frames = []
        for start in starts:
            self._file.seek(start + 4)
            frames.append((start + 8, int.from_bytes(self._file.read(4), "little")))
        return frames

    def _roughness(self, order: NDArray[np.intp]) -> float:
        """Mean difference, in grey levels, across some vertical seams if the frames lie in that order."""
        pairs = np.stack([order[:, :-1].ravel(), order[:, 1:].ravel()], axis=1)
        some = pairs[np.unique(np.linspace(0, len(pairs) - 1, SEAMS).astype(int))] if len(pairs) else pairs
        steps = [
            self._decode(left)[:, -1].astype(float) - self._decode(right)[:, 0].astype(float) for left, right in some
        ]
        return float(np.abs(steps).mean()) if steps else 0.0

    def _decode(self, index: int) -> Pixels:
        start, length = self._frames[index]
        with self._lock:
            self._file.seek(start)
            data = self._file.read(length)
        return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def _positive(header: pydicom.Dataset, path: Path, name: str) -> int:
    value = header.get(name)
    if not isinstance(value, int) or value < 1:
        raise ImageError(f"{path} is no DICOM whole slide: its {name} is {value!r}")
    return value


def _spacing_mpp(header: pydicom.Dataset) -> float | None:
    """µm/px from the spacing of pixels in mm (down, across)."""
    with suppress(AttributeError, IndexError, TypeError, ValueError):
        down, across = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        return 500 * (float(down) + float(across))
    return None
