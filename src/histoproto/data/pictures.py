"""Picture files: opened with the formats that we name and no others, decoded to RGB, all errors in sentences."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from histoproto.data.pixels import PixelKind, over_white, significant_bits
from histoproto.data.scale import refuse_oblong
from histoproto.data.tiff import MAGIC, TiffImage
from histoproto.data.tiff_choice import RIVAL
from histoproto.data.tiff_scale import stated_scale
from histoproto.errors import ImageError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
"""That Pillow may open, whatever a file is called: some of its others start programs."""
_NAMES = "PNG, JPEG, TIFF, BMP and WebP are"

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its orientation in TIFF and EXIF."""
ON_ITS_SIDE = (5, 6, 7, 8)


@dataclass(frozen=True)
class Picture:
    """An image file.

    Attributes:
        pixels: H×W×3 uint8 RGB.
        notes: sentences on what was chosen, assumed or left out.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF file does."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.read(4) in MAGIC
    except OSError:
        return False  # and will be said when it is opened


def read_tiff(path: Path) -> Picture:
    """The image that is meant in a TIFF file, upright."""
    with sentences(path), TiffImage(path) as image:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        if image.page.imagewidth * image.page.imagelength > limit:
            raise Image.DecompressionBombError
        refuse_oblong(path, stated_scale(image), "correct its tags")
        pixels = image.pixels()
        if image.orientation in TURNS:
            pixels = np.asarray(Image.fromarray(pixels).transpose(TURNS[image.orientation]))
        return Picture(pixels, tuple(image.notes))


def read_plain(path: Path) -> Picture:
    """A PNG, JPEG, BMP or WebP file, upright."""
    image = open_plain(path)
    depth, used = png_bits(path) if image.format == "PNG" else (8, None)
    if depth == 16:
        pixels = _read_deep_png(path, used)
        return Picture(pixels)
    notes = []
    if image.mode == "CMYK":
        notes.append("its CMYK is turned into RGB without a colour profile")
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"of its {getattr(image, 'n_frames', 1)} pictures the first is read, which is the largest")
    if image.mode not in ("1", "L", "P", "RGB", "RGBA", "RGBa", "LA", "La", "PA", "CMYK", "YCbCr", "RGBX"):
        raise ImageError(f"{path} has pixels of the kind {image.mode}, expected an image of 8 or 16 bits per channel")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        values = np.asarray(image.convert("RGBA"))
        turned = Image.fromarray(over_white(values[..., :3], values[..., 3:]))
    else:
        turned = image.convert("RGB")
    orientation = orientation_of(image)
    return Picture(np.array(turned.transpose(TURNS[orientation]) if orientation in TURNS else turned), tuple(notes))


def orientation_of(image: Image.Image) -> int:
    """1: upright; 2 to 8: see EXIF."""
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    return int(exif.get(ExifTags.Base.Orientation, 1))


def _read_deep_png(path: Path, used: int | None) -> NDArray[np.uint8]:
    """A PNG of 16 bits per channel, of which Pillow would drop the lower 8 in colour images."""
    with sentences(path):
        values = imagecodecs.png_decode(path.read_bytes())
        values = values[..., None] if values.ndim == 2 else values
        samples = values.shape[2]
        colours = values[..., : 3 if samples > 2 else 1]
        bits = significant_bits(path, 16, int(colours.max()), used)
        kind = PixelKind("rgb" if samples > 2 else "grey", bits, "straight" if samples in (2, 4) else "none")
        if kind.alpha != "none" and bits < 16:  # opacity has a scale of its own
            raise ImageError(f"{path} has {bits} bits per channel and transparency; save it with 8 bits per channel")
        return kind.rgb(values, path)


def png_bits(path: Path) -> tuple[int, int | None]:
    """Bits per channel of a PNG file, and how many of them it says are significant (sBIT)."""
    with path.open("rb") as file:
        depth = file.read(25)[24]
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
            size = int.from_bytes(head[:4], "big")
            if head[4:] == b"sBIT":
                return depth, max(file.read(size)[:3], default=None)
            file.seek(size + 4, 1)
    return depth, None


def open_plain(path: Path, decode: bool = True, pages: bool = False) -> Image.Image:
    """The image as Pillow opens it.

    Args:
        path: of the file.
        decode: unless only its header is of interest.
        pages: take a file of several pictures, their number in `info["pages"]`; else that is refused. How a TIFF file
            is turned is in `info["turned"]`, for Pillow turns some of them wrongly.

    Raises:
        ImageError: whatever is wrong with the file.
    """
    with sentences(path):
        status = path.stat()
        if status.st_size == 0 and stat.S_ISREG(status.st_mode):
            raise ImageError(f"{path} is empty (0 bytes); expected an image")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{path} cannot be read: it is {'a folder' if path.is_dir() else 'no file'}")
        with Image.open(path, formats=FORMATS) as image:
            image.info["pages"] = getattr(image, "n_frames", 1)
            image.info["turned"] = getattr(image, "tag_v2", {}).get(ExifTags.Base.Orientation, 1)
            if not pages:
                _check_pages(image, path)
            if decode:
                image.load()
            return image


def _check_pages(image: Image.Image, path: Path) -> None:
    """One picture, or others beside it that are much smaller (previews that cameras add)."""
    count = getattr(image, "n_frames", 1)
    if count == 1:
        return
    areas = []
    for number in range(count if image.format == "MPO" else 0):
        image.seek(number)
        areas.append(image.width * image.height)
    image.seek(0)
    if not areas or max(areas[1:]) > RIVAL * areas[0]:
        raise ImageError(f"{path} holds {count} pictures, expected one; save the one that is meant as a file")


@contextmanager
def sentences(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a file becomes one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large but readable images, odd metadata
            yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"there is no image {path}") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ImageError(
            f"{path} has more than {limit:,} pixels, too many to be read at once; cut it into smaller images"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not an image, or of a format that is not read: {_NAMES}") from error
    except MemoryError as error:
        raise ImageError(f"{path} is too large for the memory of this machine; cut it into smaller images") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error … on damaged files
        reason = str(error) or type(error).__name__
        raise ImageError(f"{path} cannot be read and may be damaged: {reason}") from error
