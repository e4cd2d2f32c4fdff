"""`open_slide` picks whatever can read a file."""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

from histoproto.data.tiff import MAGIC
from histoproto.errors import DataError, HistoProtoError, ImageError
from histoproto.slides.reading.dicom import DicomSlide
from histoproto.slides.reading.openslide import OpenSlideSlide, vendor
from histoproto.slides.reading.picture import ImageSlide
from histoproto.slides.reading.protocol import SlideReader
from histoproto.slides.reading.scale import check_scale, settle_mpp
from histoproto.slides.reading.tiff import TiffSlide

_log = logging.getLogger(__name__)


def open_slide(path: Path, mpp: float | None = None, image: str | None = None) -> SlideReader:
    """Open a slide with the first reader that takes it: OpenSlide, tifffile, pydicom or Pillow.

    Args:
        path: the file; for formats of many files (MRXS, DICOM) the one to start from.
        mpp: µm/px of level 0, instead of what the file says.
        image: number or name of the image that is meant, where a TIFF file holds several.

    Raises:
        DataError: an impossible µm/px.
        ImageError: no such file, none of the readers can open it, or it has no such image.
    """
    settle_mpp(path, None, mpp, [])  # an impossible one is answered before anything is opened
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise ImageError(f"{path} is {'a folder' if path.is_dir() else 'no file'}; expected a slide")
        with path.open("rb") as file:
            head = file.read(132)
    except FileNotFoundError as error:
        raise ImageError(f"there is no slide {path}") from error
    except OSError as error:
        raise ImageError(f"the slide {path} cannot be read: {error.strerror or error}") from error
    if not head:
        raise ImageError(f"{path} is empty (0 bytes); expected a slide")
    failed: list[str] = []
    for opener in _openers(path, head, image):
        try:
            reader = opener(path)
        except HistoProtoError:  # it is what it seems to be, and the next reader may read it wrongly without a word
            raise
        except Exception as error:  # the next reader may do better
            failed.append(str(error) or type(error).__name__)
            continue
        try:
            reader.told = mpp is not None
            reader.mpp = settle_mpp(path, reader.stated, mpp, reader.notes)
        except BaseException:
            reader.close()
            raise
        _log.debug("%s: %s, %s × %s px, %s µm/px", path, type(reader).__name__, reader.width, reader.height, reader.mpp)
        return reader
    reasons = "; ".join(dict.fromkeys(failed))
    raise ImageError(f"{path} cannot be opened as a slide and may be damaged: {reasons}")


def require_mpp(reader: SlideReader, option: str = "--mpp", wanted: float | None = None) -> float:
    """The µm/px of a slide.

    Args:
        reader: the slide.
        option: where the user can give it.
        wanted: µm/px at which the slide is to be read.

    Raises:
        DataError: the file does not say, and nobody else did; or the file's is far from what is wanted.
    """
    if reader.mpp is None:
        raise DataError(f"{lacks_mpp(reader.path, unsaid(reader))}; give it with {option} (0.25 at 40×, 0.5 at 20×)")
    if wanted is not None:
        check_scale(reader.path, reader.mpp, wanted, reader.told, option)
    return reader.mpp


def lacks_mpp(path: Path, hint: str = "") -> str:
    """That a slide is of unknown µm/px, in words; `hint` is what it says instead, see `unsaid`."""
    return "; ".join(filter(None, (f"{path} does not say how many µm a pixel is wide", hint)))


def unsaid(reader: SlideReader) -> str:
    """What a slide of unknown µm/px says instead: why its own was not believed, and its objective; "": nothing."""
    doubt = reader.stated.doubt if reader.stated else ""
    power = f"its objective is said to be {reader.power:g}×" if reader.power else ""
    return "; ".join(filter(None, (doubt, power)))


def _openers(path: Path, head: bytes, image: str | None) -> list[Callable[[Path], SlideReader]]:
    """Readers worth a try, the best first."""
    maker = vendor(path)
    if image is not None:  # the number of an image is that of tifffile alone
        if head[:4] not in MAGIC or (maker and maker != "generic-tiff"):
            raise ImageError(
                f"{path} ({maker or 'no TIFF'}) has one image that can be meant; --image is for TIFF of several"
            )
        return [partial(TiffSlide, wanted=image)]
    openers: list[Callable[[Path], SlideReader]] = [OpenSlideSlide] if maker and maker != "generic-tiff" else []
    if head[:4] in MAGIC:  # in plain tiled TIFF, OpenSlide does not see what OME adds, and takes five times as long
        openers.append(TiffSlide)
    if head[128:132] == b"DICM":
        openers.append(DicomSlide)
    return openers or [ImageSlide]
