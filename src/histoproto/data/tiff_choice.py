"""Which image of a TIFF file is meant.

A file may hold a label, a macro picture, thumbnails, several scanned regions, stacks and channels. The largest image is
taken where there is one; where another could be meant as well, the user names one, by its number or its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from histoproto.data.tiff_images import StoredImage, stored_images
from histoproto.errors import ImageError
from histoproto.printable import one_line
from histoproto.words import listed

RIVAL = 0.27
"""Share of the largest image's area above which another may be meant, too; one of half the sides is a reduced one."""

MOST_PLANES = 100_000
"""Of an image, in all channels, planes and times."""

_RGB = (("r", "red"), ("g", "green"), ("b", "blue"))
_HOW = "name it with --image where slides are taken, or save it as a file of its own"


@dataclass(frozen=True)
class Choice:
    """The image that is meant.

    Attributes:
        image: with its pyramid.
        of: how many there are in the file.
        ome: the `Image` element that describes it, in OME-TIFF.
        note: what was left out; empty if there is nothing else.
    """

    image: StoredImage
    of: int
    ome: ElementTree.Element | None
    note: str

    @property
    def name(self) -> str:
        """Its own name, or its number where it has none and there are others."""
        return self.image.name or (f"image {self.image.number}" if self.of > 1 else "")


def choose_image(file: tifffile.TiffFile, path: Path, wanted: str | None = None) -> Choice:
    """The largest image of a file that is no label, macro picture, thumbnail or overview; or the one that is wanted.

    Args:
        file: open.
        path: of it.
        wanted: number or name of an image.

    Raises:
        ImageError: several could be meant, there is none as wanted, or it is a stack.
    """
    if file.is_mmstack or file.is_ndtiff:
        raise ImageError(f"{path} is a stack of Micro-Manager, which may be of many files; save the slide as OME-TIFF")
    root = _ome_root(file, path)
    found = stored_images(file)
    if not found:
        raise ImageError(f"{path} holds no image")
    chosen = _largest(found, path) if wanted is None else _named(wanted, found, path)
    note = ""
    if len(found) > 1:
        others = _names([image for image in found if image is not chosen])
        how = "the largest is read" if wanted is None else "the one that was named is read"
        note = f"of its {len(found)} images {how}, {chosen}; left out: {others}"
    ome = None if root is None else _ome_image(root, chosen)
    _check_one_plane(chosen, ome, path)
    return Choice(chosen, len(found), ome, note)


def _largest(found: Sequence[StoredImage], path: Path) -> StoredImage:
    plain = [image for image in found if not image.is_aside] or found
    largest = max(plain, key=lambda image: image.area)
    rivals = [image for image in plain if image.area > RIVAL * largest.area]
    if len(rivals) > 1:
        raise ImageError(f"{path} holds {len(rivals)} images that could be meant ({_names(rivals)}); {_HOW}")
    return largest


def _named(wanted: str, found: Sequence[StoredImage], path: Path) -> StoredImage:
    """By its number, or else by its name, in whatever case."""
    text = one_line(wanted)
    fitting = [image for image in found if str(image.number) == text]
    fitting = fitting or [image for image in found if text and image.name.casefold() == text.casefold()]
    if len(fitting) != 1:
        what = f"{len(fitting)} images called '{text}'" if fitting else f"no image '{text}'"
        raise ImageError(f"{path} holds {what}: there are {_names(fitting or found)}; give the number of one of them")
    return fitting[0]


def channel_names(ome: ElementTree.Element | None) -> list[str]:
    """Of the channels of an OME image, in small letters; without those that have no name."""
    names = [] if ome is None else [channel.get("Name", "") for channel in ome.iterfind("{*}Pixels/{*}Channel")]
    return [name.strip().lower() for name in names if name.strip()]


def _check_one_plane(image: StoredImage, ome: ElementTree.Element | None, path: Path) -> None:
    """One page holds all colours, or three pages one each."""
    if image.page is not None:
        return
    series = image.series
    page, depth = series.keyframe, len(series.pages)
    size = f"{page.imagewidth} × {page.imagelength} pixels"
    three = series.axes == "CYX" and depth == 3 and page.samplesperpixel == 1 and None not in series.pages
    if not three and (depth > 1 or not set(series.axes) <= set("YXS")):
        raise ImageError(
            f"{path} holds {depth} pages of {size} ({' '.join(series.axes)} = {series.shape}), expected one RGB or "
            "grey image; save the one that is meant as a file of its own"
        )
    if three:
        names = channel_names(ome)
        if names and not all(name in known for name, known in zip(names, _RGB, strict=False)):
            raise ImageError(f"{path} holds the channels {', '.join(names)}, expected red, green and blue")
        return
    pixels = None if ome is None else ome.find("{*}Pixels")
    if pixels is not None:
        told = [_whole(pixels.get(f"Size{axis}")) for axis in "CZT"]
        if told[0] > page.samplesperpixel or max(told[1:]) > 1:
            raise ImageError(
                f"{path} is one of several files that make an image of {told[0]} channels, {told[1]} planes and "
                f"{told[2]} times; the others are not read: save the slide as one RGB file"
            )


def _ome_root(file: tifffile.TiffFile, path: Path) -> ElementTree.Element | None:
    """What an OME-TIFF says of itself, of a size that can be believed: tifffile goes through all that is named."""
    if not file.ome_metadata:
        return None
    try:
        root = ElementTree.fromstring(file.ome_metadata)
    except ElementTree.ParseError as error:
        raise ImageError(f"{path} describes itself in OME-XML that cannot be read: {error}") from error
    for pixels in root.iterfind("{*}Image/{*}Pixels"):
        sizes = [abs(_whole(pixels.get(f"Size{axis}"))) for axis in "CZT"]
        if prod(sizes) > MOST_PLANES:
            raise ImageError(
                f"{path} describes {sizes[0]} channels, {sizes[1]} planes and {sizes[2]} times in OME-XML, beyond any "
                "slide; it is damaged"
            )
    return root


def _ome_image(root: ElementTree.Element, chosen: StoredImage) -> ElementTree.Element | None:
    """The element that describes an image: the one that begins at its page, or the only one of its size."""
    page = chosen.series.keyframe
    fitting = []
    for image in root.iterfind("{*}Image"):
        pixels = image.find("{*}Pixels")
        if pixels is not None and (_whole(pixels.get("SizeX")), _whole(pixels.get("SizeY"))) == (
            page.imagewidth,
            page.imagelength,
        ):
            fitting.append((image, {_whole(data.get("IFD"), 0) for data in pixels.iterfind("{*}TiffData")} or {0}))
    exact = [image for image, pages in fitting if page.index in pages]
    if len(exact) == 1:
        return exact[0]
    return fitting[0][0] if len(fitting) == 1 else None


def _whole(text: str | None, default: int = 1) -> int:
    with suppress(TypeError, ValueError):
        return int(text or default)
    return default


def _names(several: Sequence[StoredImage]) -> str:
    return listed(list(map(str, several)), separator="; ")
