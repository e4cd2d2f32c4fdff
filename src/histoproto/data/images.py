"""Reading images and writing images and masks: everything becomes 8-bit RGB, or one clear sentence."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoproto.data.pictures import (
    ON_ITS_SIDE,
    Picture,
    is_tiff,
    open_plain,
    orientation_of,
    read_plain,
    read_tiff,
    sentences,
)
from histoproto.data.tiff import TiffImage
from histoproto.errors import DataError
from histoproto.files import replace_atomically
from histoproto.tissue import TissueSet

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
"""File name endings (lower case) that count as images."""


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
    """The pixels of `read_picture`."""
    return read_picture(path).pixels


def read_picture(path: Path) -> Picture:
    """An image file as H × W × 3 uint8 RGB, as viewers show it.

    Grey, palette and CMYK become RGB, transparency is laid on white (glass), more bits are scaled to 8, and pictures
    that lie on their side (EXIF) are turned. Colour profiles and gamma are not applied.

    Raises:
        ImageError: no file, not an image, truncated, too large to be read at once, of several pages, or of pixels that
            cannot be shown as RGB without knowing more.
    """
    return read_tiff(path) if is_tiff(path) else read_plain(path)


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
    """Height and width that `read_image` will give, from the header of a file; no pixel is decoded.

    Raises:
        ImageError: no file, not an image, or too large to be read at once.
    """
    if is_tiff(path):
        with sentences(path), TiffImage(path) as tiff:
            (width, height), orientation = (tiff.page.imagewidth, tiff.page.imagelength), tiff.orientation
    else:
        image = open_plain(path, decode=False)
        (width, height), orientation = image.size, orientation_of(image)
    return (width, height) if orientation in ON_ITS_SIDE else (height, width)


def _save(image: Image.Image, path: Path) -> None:
    with replace_atomically(path) as temporary:
        image.save(temporary, format="PNG")
