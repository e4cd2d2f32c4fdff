"""A DICOM file of a whole slide, through pydicom: its frames, in the order in which they are stored."""

from __future__ import annotations

import threading
import warnings
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.encaps import parse_basic_offsets, parse_fragments

from histoproto.data.pixels import Colours, PixelKind
from histoproto.data.scale import SQUARE, Stated
from histoproto.errors import ImageError
from histoproto.printable import one_line
from histoproto.slides.reading.protocol import Pixels

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
_ASIDE = ("LABEL", "OVERVIEW", "LOCALIZER", "THUMBNAIL")


class DicomFile:
    """One level of a slide, or a part of it (a concatenation); frames plain, or as JPEG, JPEG-LS or JPEG 2000.

    Attributes:
        size: height and width of the level in pixels.
        tile: height and width of a frame.
        instance: what tells it from all other files.
        part_of: the concatenation it is part of; None: it is whole.
        part: its number in it, from 1, and how many there are (0: nobody says).
        first: number of its first frame in the level.
        ordered: whether it says that frames go row by row.
        stated: the size of a pixel.
        vendor: of the scanner.

    Raises:
        ImageError: it is no such file.
        pydicom.errors.InvalidDicomError: it is no DICOM file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()  # of the position in the file; decoding runs outside of it
        self._file = path.open("rb")
        try:
            with warnings.catch_warnings(action="ignore"), pydicom.config.disable_value_validation():
                header = pydicom.dcmread(self._file, stop_before_pixels=True)
                self.tile = _positive(header, path, "Rows"), _positive(header, path, "Columns")
                height = _positive(header, path, "TotalPixelMatrixRows")
                self.size = height, _positive(header, path, "TotalPixelMatrixColumns")
                _check_kind(header, path)
                self._photometric = str(header.get("PhotometricInterpretation", ""))
                self._syntax = _syntax(header, path)
                self._planar = header.get("PlanarConfiguration", 0) == 1
                self._samples = int(header.get("SamplesPerPixel", 3))
                self.instance = str(header.get("SOPInstanceUID") or path)
                self.part_of = str(header.get("ConcatenationUID") or "") or None
                self.part = (
                    int(header.get("InConcatenationNumber") or 1),
                    int(header.get("InConcatenationTotalNumber") or 0),
                )
                self.first = int(header.get("ConcatenationFrameOffsetNumber") or 0)
                self.ordered = header.get("DimensionOrganizationType") is not None
                self.stated = _stated(header)
                self.vendor = one_line(str(header.get("Manufacturer") or ""))
            rows, columns = (-(-side // tile) for side, tile in zip(self.size, self.tile, strict=True))
            self._frames = self._find_frames(
                _positive(header, path, "NumberOfFrames") if self.part_of else rows * columns
            )
        except BaseException:
            self._file.close()
            raise

    @property
    def frames(self) -> int:
        """How many it holds."""
        return len(self._frames)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _find_frames(self, count: int) -> list[tuple[int, int]]:
        """Start and length in the file of each frame, row by row."""
        head = self._file.read(12)  # tag, kind and the length of the element, which is not known if it is compressed
        if self._syntax == _NATIVE:
            size = self.tile[0] * self.tile[1] * self._samples
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

    def decode(self, index: int) -> Pixels:
        """A frame, h×w×3 RGB."""
        start, length = self._frames[index]
        with self._lock:
            self._file.seek(start)
            data = self._file.read(length)
        if self._syntax == _NATIVE:
            shape = (self._samples, *self.tile) if self._planar else (*self.tile, self._samples)
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


def series_of(path: Path) -> str | None:
    """The series of a DICOM file, which is one slide; None: it is none, or does not say."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of harmless breaches of the standard
            wanted = ["SeriesInstanceUID"]
            uid = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted).get(wanted[0])
    except Exception:  # pydicom raises whatever it likes on damaged files; whoever reads the slide will say so
        return None
    return str(uid) if uid else None


def aside(path: Path) -> str:
    """What a DICOM file shows that is not the slide itself: its `label`, `overview` …; empty if it is the slide."""
    with warnings.catch_warnings(action="ignore"):
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["ImageType"])
    return _aside(header)


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
    if flavour := _aside(header):
        raise ImageError(f"{path} is the {flavour} picture of a slide; name its file of the type VOLUME")
    if not header.get("ConcatenationUID") and (header.get("InConcatenationTotalNumber") or 1) > 1:
        raise ImageError(
            f"{path} is one of several files that make a slide, but does not say of which; join them first"
        )
    if header.get("DimensionOrganizationType") == "TILED_SPARSE":
        raise ImageError(f"{path} has tiles at places of their own (TILED_SPARSE); convert it to TILED_FULL")
    if (kind := header.get("DimensionOrganizationType") or "TILED_FULL") != "TILED_FULL":
        raise ImageError(f"{path} has tiles in an order that is not read ({one_line(str(kind))}), expected TILED_FULL")
    for name, thing in (("TotalPixelMatrixFocalPlanes", "focal planes"), ("NumberOfOpticalPaths", "optical paths")):
        if (count := header.get(name, 1) or 1) > 1:
            raise ImageError(f"{path} holds {count} {thing}, expected one; save that as a file of its own")
    photometric, bits = str(header.get("PhotometricInterpretation", "")), header.get("BitsStored", 8)
    samples, expected = header.get("SamplesPerPixel"), 1 if photometric.startswith("MONO") else 3
    if photometric and samples not in (None, expected):
        raise ImageError(f"{path} says {photometric}, but {samples} values per pixel, expected {expected}; correct it")
    if photometric not in _PHOTOMETRIC or bits != 8 or header.get("PixelRepresentation", 0) != 0:
        raise ImageError(f"{path} holds {photometric} pixels of {bits} bits, expected RGB, YBR or grey of 8 bits")


def _aside(header: pydicom.Dataset) -> str:
    flavour = [str(value) for value in header.get("ImageType") or []][2:3]
    return flavour[0].lower() if flavour and flavour[0] in _ASIDE else ""


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
