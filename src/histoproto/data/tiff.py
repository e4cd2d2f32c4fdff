"""The image that is meant in a TIFF file, as RGB: for patches, pictures and slides alike."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from histoproto.data.pixels import PixelKind, Pixels, significant_bits
from histoproto.data.tiff_choice import channel_names, choose_image
from histoproto.data.tiff_pixels import declared_bits, kind_of_pixels
from histoproto.errors import ImageError

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong with a file is said in one sentence

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""What TIFF files begin with."""
SEGMENT_PIXELS = 2**27
"""A tile or strip above this size is not decoded."""
SIDE_PIXELS = 2**23
"""Of the longest side; the largest scans have some 400,000 pixels."""
SAMPLED_PIXELS = 2**22
"""Looked at to know the brightest value."""
DARK = 50 / 255
"""Half of a picture in transmitted light is never below it; fluorescence is."""


@dataclass(frozen=True)
class Plane:
    """All colours of an image, or one of them.

    Attributes:
        page: that holds it.
        number: of it, where a page holds one colour after the other.
    """

    page: tifffile.TiffPage
    number: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns that are decoded together."""
        page = self.page
        if page.is_tiled:
            return page.tilelength, page.tilewidth
        if page.is_contiguous:  # one run of plain pixels, in which any row can be found
            return min(256, page.imagelength), page.imagewidth
        return min(page.rowsperstrip, page.imagelength), page.imagewidth

    @property
    def grid(self) -> tuple[int, int]:
        """How many of those there are, down and across."""
        high, wide = self.size
        return -(-self.page.imagelength // high), -(-self.page.imagewidth // wide)

    @property
    def samples(self) -> int:
        """Values of a pixel."""
        return 1 if self.page.planarconfig == 2 else int(self.page.samplesperpixel)


class TiffImage:
    """The image that is meant in a TIFF file, with its pyramid. A context manager; threads may share it.

    Args:
        path: the file.
        wanted: number or name of the image that is meant; None: see `choose_image`.

    Attributes:
        file: open.
        choice: which image.
        levels: planes of each level, the finest first: one plane, or three of which each holds a colour.
        kind: of its pixels.
        notes: sentences on what was chosen and assumed.

    Raises:
        ImageError: it cannot be known which image is meant, or its pixels are of no kind that can be shown as RGB.
        tifffile.TiffFileError: the file is damaged.
    """

    def __init__(self, path: Path, wanted: str | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()  # of the position in the file; decoding runs outside of it
        self.file = tifffile.TiffFile(path, _multifile=False)  # files that OME names are not opened, wherever they lie
        try:
            self.choice = choose_image(self.file, path, wanted)
            self.notes = [self.choice.note] if self.choice.note else []
            self.levels = [self._planes(pages) for pages in self.choice.image.levels]
            self.kind = self._kind()
        except BaseException:
            self.file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> TiffImage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def page(self) -> tifffile.TiffPage:
        """Of the finest level."""
        return self.levels[0][0].page

    @property
    def orientation(self) -> int:
        """1: upright; 2 to 8: see TIFF 6.0."""
        return int(self.page.tags.valueof(274, 1))

    def tile(self, level: int, row: int, column: int) -> Pixels:
        """A tile or strip of a level as h×w×3 RGB, fewer at the edges.

        Nothing (0×0) where the file does not store it, which means empty glass.
        """
        parts = [self._values(plane, row, column) for plane in self.levels[level]]
        if not all(part.size for part in parts):
            return np.empty((0, 0, 3), dtype=np.uint8)
        return self.kind.rgb(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2), self.path)

    def pixels(self) -> Pixels:
        """The whole finest level as H×W×3 RGB.

        Raises:
            ImageError: some of it is missing.
        """
        high, wide = self.levels[0][0].size
        result = np.empty((self.page.imagelength, self.page.imagewidth, 3), dtype=np.uint8)
        for row, column in np.ndindex(self.levels[0][0].grid):
            place = result[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
            tile = self.tile(0, row, column)
            if tile.shape != place.shape:
                raise ImageError(f"{self.path} lacks some of its pixels; it was not written to its end")
            place[:] = tile
        return result

    def _planes(self, pages: list[tifffile.TiffPage]) -> list[Plane]:
        page, path = pages[0], self.path
        if max(page.imagewidth, page.imagelength) > SIDE_PIXELS:
            raise ImageError(
                f"{path} says that it is {page.imagewidth} × {page.imagelength} pixels, beyond any slide; it is damaged"
            )
        plane = Plane(page)
        if plane.size[0] * plane.size[1] > SEGMENT_PIXELS:
            raise ImageError(
                f"{path} is compressed in pieces of {plane.size[1]} × {plane.size[0]} pixels, too many to be read at "
                "once; convert it to a tiled TIFF"
            )
        colours = page.samplesperpixel
        separate = page.planarconfig == 2 and colours > 1
        pieces = plane.grid[0] * plane.grid[1] * (colours if separate else 1)
        if not page.is_contiguous and len(page.dataoffsets) < pieces:
            raise ImageError(f"{path} names {len(page.dataoffsets)} of its {pieces} tiles or strips; it is damaged")
        if len(pages) == 3:
            return [Plane(part) for part in pages]
        return [Plane(page, number) for number in range(colours)] if separate else [plane]

    def _kind(self) -> PixelKind:
        kind, planes = kind_of_pixels(self.page, self.path), self.levels[0]
        pages = planes[0].number == 0 and len({plane.page.index for plane in planes}) == 3
        if pages:
            if kind.colours != "grey" or kind.alpha != "none":
                raise ImageError(f"{self.path} holds three pages of {kind.colours}, expected red, green and blue")
            kind = replace(kind, colours="rgb", guessed=not channel_names(self.choice.ome))
        if kind.colours == "cmyk":
            self.notes.append("its CMYK is turned into RGB without a colour profile")
        if kind.bits < 16 and not kind.guessed:
            return kind
        values = self._sample(kind.samples)
        declared = declared_bits(self.page, self.choice.ome)
        kind = replace(kind, bits=significant_bits(self.path, kind.bits, int(values.max(initial=0)), declared))
        if kind.guessed and np.median(values) < DARK * 2**kind.bits:
            raise ImageError(
                f"{self.path} holds three dark channels that do not say which colours they are, as in fluorescence; "
                "expected tissue in transmitted light, in RGB"
            )
        if kind.guessed:
            self.notes.append("its three channels do not say which colours they are; taken as red, green, blue")
        if kind.bits < self.page.bitspersample:
            self.notes.append(f"it says that {kind.bits} of {self.page.bitspersample} bits are in use")
        return kind

    def _sample(self, samples: int) -> NDArray[Any]:
        """Values of the colours from all over the coarsest level."""
        planes, (high, wide) = self.levels[-1], self.levels[-1][0].size
        rows, columns = planes[0].grid
        count = max(1, min(rows * columns, SAMPLED_PIXELS // (high * wide)))
        some = np.unique(np.linspace(0, rows * columns - 1, count).astype(int)).tolist()
        parts = [self._values(plane, *divmod(index, columns))[..., :samples] for index in some for plane in planes]
        return np.concatenate([part.ravel() for part in parts])

    def _values(self, plane: Plane, row: int, column: int) -> NDArray[Any]:
        """A tile or strip as it is stored, h×w×samples."""
        page, rows = plane.page, plane.size[0]
        if page.is_contiguous:
            line = page.imagewidth * page.dtype.itemsize * plane.samples
            start = (plane.number * page.imagelength + row * rows) * line
            data = self._bytes(page.dataoffsets[0] + start, min(rows, page.imagelength - row * rows) * line)
            values = np.frombuffer(data, page.parent.byteorder + page.dtype.char)
            return values.reshape(-1, page.imagewidth, plane.samples)
        index = plane.number * plane.grid[0] * plane.grid[1] + row * plane.grid[1] + column
        stored = page.databytecounts[index] > 0
        found = self._bytes(page.dataoffsets[index], page.databytecounts[index]) if stored else None
        decoded = page.decode(found, index, jpegtables=page.jpegtables)[0]
        if decoded is None:
            return np.empty((0, 0, plane.samples), dtype=page.dtype)
        # Without what fills up the tiles at the edges.
        return np.asarray(decoded[0, : page.imagelength - row * rows, : page.imagewidth - column * plane.size[1]])

    def _bytes(self, start: int, size: int) -> bytes:
        with self._lock:
            self.file.filehandle.seek(start)
            data: bytes = self.file.filehandle.read(size)
        if len(data) < size:
            raise ImageError(f"{self.path} ends in the middle of its pixels; it was not copied as a whole")
        return data
