"""Reading images and writing images and masks: everything becomes 8-bit RGB, or one clear sentence."""

from __future__ import annotations

import re
from collections import Counter
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
from histoproto.documents.names import check_name
from histoproto.errors import DataError
from histoproto.files import replace_atomically
from histoproto.tissue import TissueSet

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
"""File name endings (lower case) that count as images."""
_OTHERS = 5


def list_images(folder: Path) -> list[Path]:
    """The images directly in a folder in natural order (2 before 10), without hidden ones.

    What is called an image and is none (a dead link, a pipe) is among them: whoever reads it will say so.

    Raises:
        DataError: there is no such folder, or it may not be read.
        SettingError: a name that cannot be written wherever names are written (`check_name`).
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; expected one that holds images")
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.name[0] != "."]
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror or error}") from error
    for path in found:
        check_name(path.name, f"an image in {folder}")
    return sorted((path for path in found if not path.is_dir()), key=lambda path: natural_key(path.name))


def images_by_stem(folder: Path) -> dict[str, Path]:
    """The images directly in a folder by their names without endings, as masks are found for images.

    Raises:
        DataError: two have the same, so that either could be meant.
    """
    found: dict[str, Path] = {}
    for path in list_images(folder):
        if (other := found.setdefault(path.stem, path)) is not path:
            raise DataError(f"{folder} holds {other.name} and {path.name}, and either could be meant; remove one")
    return found


def list_others(folder: Path) -> str:
    """What else than images lies in a folder, in words: "2 .jp2, 1 folder"; empty if there is nothing."""
    others = Counter(
        "folder" if path.is_dir() else path.suffix.lower() or "without an ending"
        for path in folder.iterdir()
        if path.name[0] != "." and (path.is_dir() or path.suffix.lower() not in EXTENSIONS)
    )
    return ", ".join(f"{count} {kind}" for kind, count in others.most_common(_OTHERS)) + (
        " …" if len(others) > _OTHERS else ""
    )


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
            are not square or cannot be shown as RGB without knowing more.
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
    palette[tissues.decode(np.arange(len(tissues) + 2, dtype=np.uint8))] = tissues.palette()
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
