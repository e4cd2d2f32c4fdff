"""DICOM whole slides that OpenSlide refuses because attributes are missing, through pydicom.

wsidicom refuses them for the same reason, so that it would add nothing here.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import parse_basic_offsets, parse_fragments

from histoproto.data.pixels import Colours, PixelKind
from histoproto.data.scale import SQUARE, Stated
from histoproto.errors import ImageError
from histoproto.slides.reading.mosaic import TileCache, cut_from_tiles
from histoproto.slides.reading.protocol import Level, Pixels, SlideReader

_JPEG_COLOURS = {
    "RGB": "RGB",
    "YBR_FULL": "YCBCR",
    "YBR_FULL_422": "YCBCR",
    "MONOCHROME1": "GRAYSCALE",
    "MONOCHROME2": "GRAYSCALE",
}
_PHOTOMETRIC = ("", *_JPEG_COLOURS, "YBR_ICT", "YBR_RCT")
_JPEG, _JPEG_2000, _JPEG_LS = ("4.50", "4.51"), ("4.90", "4.91"), ("4.80",)
_NATIVE = "1"
"""How pixels are stored (the end of the transfer syntax): in plain, explicit, little endian."""
_SYNTAXES = "1.2.840.10008.1.2."
SEAMS = 16
"""That are looked at to find the order of frames."""


class DicomSlide(SlideReader):
    """One level of a DICOM whole slide, tiled in full, frames plain or compressed as JPEG, JPEG-LS or JPEG 2000.

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
                _check_kind(header, path)
                self._photometric = str(header.get("PhotometricInterpretation", ""))
                self._syntax = _syntax(header, path)
                self._planar = header.get("PlanarConfiguration", 0) == 1
                self._samples = int(header.get("SamplesPerPixel", 3))
                self.stated = _stated(header)
                self.vendor = str(header.get("Manufacturer", ""))
            self.format, self.notes = "DICOM", []
            self.levels = (Level(width, height, 1.0),)
            rows, columns = -(-height // self._tile[0]), -(-width // self._tile[1])
            self._frames = self._find_frames(rows * columns)
            self._order = np.arange(rows * columns).reshape(rows, columns)
            if header.get("DimensionOrganizationType") is None:
                by_column = np.arange(rows * columns).reshape(columns, rows).T
                self._order = min((self._order, by_column), key=self._roughness)
                self.notes.append("it does not say in which order its tiles lie; neighbours were fitted together")
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
        head = self._file.read(12)  # tag, kind and the length of the element, which is not known if it is compressed
        if self._syntax == _NATIVE:
            size = self._tile[0] * self._tile[1] * self._samples
            missing = size * count - int.from_bytes(head[8:], "little")
            if head[:4] != b"\xe0\x7f\x10\x00" or missing not in (0, -1):  # padded to an even length
                raise ImageError(f"{self.path} does not hold {count} frames of {size} bytes; it is sparse or damaged")
            return [(self._file.tell() + index * size, size) for index in range(count)]
        if head[:4] != b"\xe0\x7f\x10\x00" or head[8:] != b"\xff\xff\xff\xff":
            raise ImageError(f"{self.path} holds no frames where it says that they are; it is damaged or not a slide")
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
        if self._syntax == _NATIVE:
            shape = (self._samples, *self._tile) if self._planar else (*self._tile, self._samples)
            pixels = np.frombuffer(data, np.uint8).reshape(shape)
            pixels = np.moveaxis(pixels, 0, 2) if self._planar else pixels
        elif self._syntax in _JPEG_LS:
            pixels = imagecodecs.jpegls_decode(data)
        elif data[:2] == b"\xff\xd8":  # a marker in the JPEG counts more: some files in YBR say RGB
            marked = data[6:10] == b"JFIF" or b"Adobe" in data[:1024]
            stored = None if marked else _JPEG_COLOURS.get(self._photometric)
            outside = "GRAYSCALE" if self._photometric.startswith("MONO") else "RGB"
            pixels = imagecodecs.jpeg8_decode(data, colorspace=stored, outcolorspace=outside)
        else:
            pixels = imagecodecs.jpeg2k_decode(data)  # undoes YBR_ICT and YBR_RCT
        if pixels.dtype != np.uint8:
            raise ImageError(f"{self.path} holds pixels of {pixels.dtype}, expected 8 bits per channel")
        samples = 1 if pixels.ndim == 2 else pixels.shape[2]
        if samples not in (1, 3):
            raise ImageError(f"{self.path} holds pixels of {samples} channels, expected RGB or grey")
        colours: Colours = "rgb" if samples == 3 else "white is zero" if self._photometric == "MONOCHROME1" else "grey"
        return PixelKind(colours, 8).rgb(pixels.reshape(*pixels.shape[:2], samples), self.path)


def _positive(header: pydicom.Dataset, path: Path, name: str) -> int:
    value = header.get(name)
    if not isinstance(value, int) or value < 1:
        raise ImageError(f"{path} is no DICOM whole slide: its {name} is {value!r}")
    return value


def _syntax(header: pydicom.Dataset, path: Path) -> str:
    """How frames are stored.

    Raises:
        ImageError: in a way that is not read.
    """
    uid = header.file_meta.get("TransferSyntaxUID") or pydicom.uid.UID("")
    found = str(uid).removeprefix(_SYNTAXES)
    if found not in (_NATIVE, *_JPEG, *_JPEG_LS, *_JPEG_2000):
        raise ImageError(
            f"{path} is stored as {uid.name or 'nothing it names'}; expected JPEG, JPEG-LS, JPEG 2000 or plain"
        )
    if found in (_NATIVE, *_JPEG_LS) and str(header.get("PhotometricInterpretation", "")).startswith("YBR"):
        raise ImageError(f"{path} holds YBR pixels as {uid.name}; expected RGB or grey, save it as RGB")
    return found


def _check_kind(header: pydicom.Dataset, path: Path) -> None:
    """Refuse what is no whole slide by itself, or of pixels that would be shown wrongly."""
    flavour = [str(value) for value in header.get("ImageType") or []][2:3]
    if flavour and flavour[0] in ("LABEL", "OVERVIEW", "LOCALIZER", "THUMBNAIL"):
        raise ImageError(f"{path} is the {flavour[0].lower()} picture of a slide; name its file of the type VOLUME")
    if header.get("ConcatenationUID") or header.get("InConcatenationTotalNumber", 1) > 1:
        raise ImageError(f"{path} is one of several files that make a slide (a concatenation); join them first")
    if header.get("DimensionOrganizationType") == "TILED_SPARSE":
        raise ImageError(f"{path} has tiles at places of their own (TILED_SPARSE); convert it to TILED_FULL")
    for name, thing in (("TotalPixelMatrixFocalPlanes", "focal planes"), ("NumberOfOpticalPaths", "optical paths")):
        if (count := header.get(name, 1) or 1) > 1:
            raise ImageError(f"{path} holds {count} {thing}, expected one; save that as a file of its own")
    photometric, bits = str(header.get("PhotometricInterpretation", "")), header.get("BitsStored", 8)
    if photometric not in _PHOTOMETRIC or bits != 8 or header.get("PixelRepresentation", 0) != 0:
        raise ImageError(f"{path} holds {photometric} pixels of {bits} bits, expected RGB, YBR or grey of 8 bits")


def _stated(header: pydicom.Dataset) -> Stated | None:
    """From the spacing of pixels in mm (down, across), or the size of the whole in mm."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        with suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
            down, across = header[groups][0].PixelMeasuresSequence[0].PixelSpacing
            return Stated(1000 * float(across), 1000 * float(down), "PixelSpacing")
    with suppress(AttributeError, TypeError, ValueError, ZeroDivisionError):
        across = 1000 * float(header.ImagedVolumeWidth) / header.TotalPixelMatrixColumns
        down = 1000 * float(header.ImagedVolumeHeight) / header.TotalPixelMatrixRows
        if abs(across / down - 1) < SQUARE:  # or it is the nominal size of what the scanner can see
            return Stated(across, down, "ImagedVolumeWidth and Height")
    return None
