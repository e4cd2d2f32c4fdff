"""`open_slide` picks whatever can read a file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from histoproto.errors import DataError, ImageError
from histoproto.slides.reading.dicom import DicomSlide
from histoproto.slides.reading.openslide import OpenSlideSlide, vendor
from histoproto.slides.reading.picture import ImageSlide
from histoproto.slides.reading.protocol import PLAUSIBLE_MPP, SlideReader
from histoproto.slides.reading.tiff import TiffSlide

_log = logging.getLogger(__name__)

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_slide(path: Path, mpp: float | None = None) -> SlideReader:
    """Open a slide with the first reader that takes it: OpenSlide, tifffile, pydicom or Pillow.

    Args:
        path: the file; for formats of many files (MRXS, DICOM) the one to start from.
        mpp: µm/px of level 0, instead of what the file says.

    Raises:
        DataError: an impossible µm/px.
        ImageError: no such file, or none of the readers can open it.
    """
    if mpp is not None and not PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]:
        raise DataError(f"µm/px of a slide must be from {PLAUSIBLE_MPP[0]} to {PLAUSIBLE_MPP[1]:g}, found {mpp}")
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except FileNotFoundError as error:
        raise ImageError(f"there is no slide {path}") from error
    except OSError as error:
        raise ImageError(f"the slide {path} cannot be read: {error.strerror or error}") from error
    if not head:
        raise ImageError(f"{path} is empty (0 bytes); expected a slide")
    failed: list[str] = []
    for opener in _openers(path, head):
        try:
            reader = opener(path)
        except Exception as error:  # the next reader may do better
            failed.append(str(error) or type(error).__name__)
            continue
        reader.mpp = mpp or reader.mpp
        _log.debug("%s: %s, %s × %s px, %s µm/px", path, type(reader).__name__, reader.width, reader.height, reader.mpp)
        return reader
    reasons = "; ".join(dict.fromkeys(failed))
    raise ImageError(f"{path} cannot be opened as a slide and may be damaged: {reasons}")


def require_mpp(reader: SlideReader, option: str = "--mpp") -> float:
    """The µm/px of a slide; `option` is where the user can give it.

    Raises:
        DataError: the file does not say, and nobody else did.
    """
    if reader.mpp is None:
        raise DataError(
            f"{reader.path} does not say how many µm a pixel is wide; give it with {option} (0.25 at 40×, 0.5 at 20×)"
        )
    return reader.mpp


def _openers(path: Path, head: bytes) -> list[Callable[[Path], SlideReader]]:
    """Readers worth a try, the best first."""
    maker = vendor(path)
    openers: list[Callable[[Path], SlideReader]] = [OpenSlideSlide] if maker else []
    if head[:4] in _TIFF:  # in plain tiled TIFF, OpenSlide does not see what OME adds, and takes five times as long
        openers.insert(0 if maker == "generic-tiff" else 1, TiffSlide)
    if head[128:132] == b"DICM":
        openers.append(DicomSlide)
    return openers or [ImageSlide]
