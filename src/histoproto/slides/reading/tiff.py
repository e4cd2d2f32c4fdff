"""Slides through tifffile: what OpenSlide refuses, such as single-level, striped, OME- and 16-bit TIFF."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from histoproto.errors import ImageError
from histoproto.slides.reading.mosaic import TileCache, cut_from_tiles
from histoproto.slides.reading.protocol import Level, Pixels, SlideReader, plausible

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong with a file is said in one sentence

SEGMENT_PIXELS = 2**27
"""A compressed tile or strip above this size is not decoded."""
_TO_UM = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3}
_UNIT_UM = {2: 25400.0, 3: 10000.0}  # of the resolution tags: inch, centimetre


class TiffSlide(SlideReader):
    """The first image of a TIFF file and its pyramid, read tile by tile or strip by strip.

    Raises:
        ImageError: it is no RGB or grey image of 8 or 16 bits.
        tifffile.TiffFileError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = tifffile.TiffFile(path)
        self._lock = threading.Lock()  # of the position in the file; decoding runs outside of it
        self._cache = TileCache()
        try:
            levels = self._file.series[0].levels
            self._planes = [_planes(level, path) for level in levels]
            pages = [level.keyframe for level in levels]
            self.levels = tuple(
                Level(
                    page.imagewidth,
                    page.imagelength,
                    (pages[0].imagewidth / page.imagewidth + pages[0].imagelength / page.imagelength) / 2,
                )
                for page in pages
            )
            self.mpp = plausible(_ome_mpp(self._file.ome_metadata) or _tag_mpp(pages[0]))
        except BaseException:
            self._file.close()
            raise

    def read_level(self, level: int, left: int, top: int, width: int, height: int) -> Pixels:
        """See `SlideReader`."""
        planes = self._planes[level]
        if len(planes) == 1:
            return self._read_plane(level, 0, left, top, width, height)
        parts = [self._read_plane(level, plane, left, top, width, height)[..., :1] for plane in range(3)]
        return np.concatenate(parts, axis=2)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_plane(self, level: int, plane: int, left: int, top: int, width: int, height: int) -> Pixels:
        page, first = self._planes[level][plane]
        size = _segment_size(page)
        across = -(-page.imagewidth // size[1])

        def segment(row: int, column: int) -> Pixels:
            index = first + row * across + column
            return self._cache.get((level, plane, index), lambda: self._decode(page, index))

        return cut_from_tiles(segment, size, left, top, width, height)

    def _decode(self, page: tifffile.TiffPage, index: int) -> Pixels:
        """A tile or strip, h×w×3; none of it where the file does not store it, which means empty glass."""
        with self._lock:
            data = self._encoded(page, index)
        if page.is_contiguous:
            values = np.frombuffer(data or b"", page.parent.byteorder + page.dtype.char)
            return _as_rgb(values.reshape(-1, page.imagewidth, 1 if page.planarconfig == 2 else page.samplesperpixel))
        decoded = page.decode(data, index, jpegtables=page.jpegtables)[0]
        return np.empty((0, 0, 3), dtype=np.uint8) if decoded is None else _as_rgb(decoded[0])

    def _encoded(self, page: tifffile.TiffPage, index: int) -> bytes | None:
        handle = self._file.filehandle
        if page.is_contiguous:  # one run of plain pixels, in which any row can be found
            rows, _ = _segment_size(page)
            row = page.imagewidth * page.dtype.itemsize * (1 if page.planarconfig == 2 else page.samplesperpixel)
            start = index * rows * row
            handle.seek(page.dataoffsets[0] + start)
            size = min(rows * row, sum(page.databytecounts) - start)
        else:
            if page.databytecounts[index] == 0:
                return None
            handle.seek(page.dataoffsets[index])
            size = page.databytecounts[index]
        data: bytes = handle.read(size)
        if len(data) < size:
            raise ImageError(f"{self.path} ends in the middle of its pixels; it was not copied as a whole")
        return data


def _planes(level: tifffile.TiffPageSeries, path: Path) -> list[tuple[tifffile.TiffPage, int]]:
    """Page and number of the first segment of the plane that holds all colours, or of the three that hold one each."""
    page = level.keyframe
    colours = page.samplesperpixel
    separate = page.planarconfig == 2 and colours > 1
    photometric = page.photometric.name
    if page.dtype not in (np.uint8, np.uint16) or photometric not in ("RGB", "MINISBLACK", "YCBCR"):
        raise ImageError(
            f"{path} holds {page.dtype} pixels of kind {photometric}, expected RGB or grey of 8 or 16 bits per channel"
        )
    high, wide = _segment_size(page)
    if high * wide > SEGMENT_PIXELS:
        raise ImageError(
            f"{path} is compressed in pieces of {wide} × {high} pixels, too many to be read at once; convert it to a "
            "tiled TIFF"
        )
    if separate and colours in (3, 4):
        count = -(-page.imagewidth // wide) * -(-page.imagelength // high)
        return [(page, plane * count) for plane in range(3)]
    if not separate and colours == 1 and level.axes == "CYX" and len(level.pages) == 3:
        return [(plane.aspage() if hasattr(plane, "aspage") else plane, 0) for plane in level.pages]
    if not separate and colours in (1, 3, 4) and level.axes in ("YX", "YXS"):
        return [(page, 0)]
    raise ImageError(f"{path} holds {level.axes} = {level.shape} values, expected one RGB or grey image")


def _segment_size(page: tifffile.TiffPage) -> tuple[int, int]:
    """Rows and columns that are decoded together."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    if page.is_contiguous:
        return min(256, page.imagelength), page.imagewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _as_rgb(values: NDArray[Any]) -> Pixels:
    """h×w×(1, 3 or 4) of 8 or 16 bits as h×w×3 of 8 bits."""
    if values.dtype.itemsize == 2:
        values = values >> 8
    if values.shape[2] == 1:
        values = np.repeat(values, 3, axis=2)
    return np.asarray(values[..., :3], dtype=np.uint8)


def _ome_mpp(description: str | None) -> float | None:
    """µm/px from the OME-XML of a file."""
    if not description:
        return None
    with suppress(ElementTree.ParseError, KeyError, ValueError):
        pixels = ElementTree.fromstring(description).find(".//{*}Image/{*}Pixels")
        if pixels is not None:
            unit = _TO_UM[pixels.get("PhysicalSizeXUnit", "µm")]
            return (float(pixels.attrib["PhysicalSizeX"]) + float(pixels.attrib["PhysicalSizeY"])) / 2 * unit
    return None


def _tag_mpp(page: tifffile.TiffPage) -> float | None:
    """µm/px from the resolution tags."""
    with suppress(KeyError, ZeroDivisionError, TypeError, ValueError):
        unit: float = _UNIT_UM[int(page.tags["ResolutionUnit"].value)]
        across, down = (page.tags[name].value for name in ("XResolution", "YResolution"))
        return unit * float(across[1] / across[0] + down[1] / down[0]) / 2
    return None
