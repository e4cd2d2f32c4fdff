"""Reading images and writing images and masks: everything becomes 8-bit RGB, or one clear sentence."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from histoproto.errors import DataError, ImageError
from histoproto.files import replace_atomically
from histoproto.tissue import TissueSet

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
"""File name endings (lower case) that count as images."""

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder in natural order (2 before 10), without hidden ones.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; expected one that holds images")
    found = (path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.name[0] != ".")
    return sorted((path for path in found if path.is_file()), key=lambda path: natural_key(path.name))


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sorting key that orders numbers inside names by value.

    >>> sorted(["b10", "b9", "a"], key=natural_key)
    ['a', 'b9', 'b10']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return tuple((0, int(part), part) if part[0] in "0123456789" else (1, 0, part.casefold()) for part in parts)


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as H × W × 3 uint8 RGB.

    Grey, palette and CMYK become RGB, transparency is laid on white (glass), 16 bits are scaled to 8.

    Raises:
        ImageError: no file, not an image, truncated, too large to be read at once, or of another pixel type.
    """
    image = _open(path)
    if image.mode in _SIXTEEN_BIT:
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ImageError(f"{path} has 32-bit pixel values, expected an image of 8 or 16 bits per channel")
        image = Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode == "F":
        raise ImageError(f"{path} has floating-point pixel values, expected an image of 8 or 16 bits per channel")
    elif image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def write_image(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write H × W × 3 uint8 RGB as PNG, under a temporary name that is then renamed.

    Raises:
        OutputError: the file cannot be written.
    """
    _save(Image.fromarray(rgb), path)


def write_mask(path: Path, labels: NDArray[np.uint8], tissues: TissueSet) -> None:
    """Write an H × W label map as a palette PNG with the mask values and colours of the tissues.

    Raises:
        OutputError: the file cannot be written.
    """
    image = Image.fromarray(tissues.decode(labels))
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[tissues.decode(np.arange(len(tissues) + 1, dtype=np.uint8))] = tissues.rgb()
    image.putpalette(palette.tobytes())
    _save(image, path)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file in pixels, from its header; no pixel is decoded.

    Raises:
        ImageError: no file, not an image, or too large to be read at once.
    """
    width, height = _open(path, decode=False).size
    return height, width


def _open(path: Path, decode: bool = True) -> Image.Image:
    """The image, decoded unless only its header is of interest; whatever goes wrong becomes one sentence."""
    try:
        if path.stat().st_size == 0:
            raise ImageError(f"{path} is empty (0 bytes); expected an image")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large but readable images, odd metadata
            with Image.open(path) as image:
                image.info["pages"] = getattr(image, "n_frames", 1)
                if decode:
                    image.load()
                return image
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
        raise ImageError(f"{path} is not an image, or of a format that cannot be read") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error … on damaged files
        raise ImageError(f"{path} cannot be read and may be damaged: {error}") from error


def _save(image: Image.Image, path: Path) -> None:
    with replace_atomically(path) as temporary:
        image.save(temporary, format="PNG")
