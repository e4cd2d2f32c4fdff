"""Which image of a TIFF file is meant.

A file may hold a label, a macro picture, thumbnails, several scanned regions, stacks and channels. The largest image is
taken where there is one; what could be meant as well is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from histoproto.errors import ImageError

RIVAL = 0.27
"""Share of the largest image's area above which another may be meant, too; one of half the sides is a reduced one."""

_ASIDE = re.compile(r"(?<![a-z])(label|macro|thumb\w*|overview|barcode|preview|navigation)(?![a-z])", re.IGNORECASE)
_RGB = (("r", "red"), ("g", "green"), ("b", "blue"))


@dataclass(frozen=True)
class Choice:
    """The image that is meant.

    Attributes:
        series: with its pyramid.
        ome: the `Image` element that describes it, in OME-TIFF.
        note: what was left out; empty if there is nothing else.
    """

    series: tifffile.TiffPageSeries
    ome: ElementTree.Element | None
    note: str


def choose_image(file: tifffile.TiffFile, path: Path) -> Choice:
    """The largest image of a file that is no label, macro picture, thumbnail or overview.

    Raises:
        ImageError: several could be meant, or it is a stack.
    """
    if file.is_mmstack or file.is_ndtiff:
        raise ImageError(f"{path} is a stack of Micro-Manager, which may be of many files; save the slide as OME-TIFF")
    found = [series for series in file.series if {"Y", "X"} <= set(series.axes) and _area(series)]
    if not found:
        raise ImageError(f"{path} holds no image")
    plain = [series for series in found if not _is_aside(series)] or found
    largest = max(plain, key=_area)
    rivals = [series for series in plain if _area(series) > RIVAL * _area(largest)]
    if len(rivals) > 1:
        raise ImageError(
            f"{path} holds {len(rivals)} images that could be meant ({_names(rivals, found)}); save the one that is "
            "meant as a file of its own"
        )
    note = ""
    if len(found) > 1:
        others = _names([series for series in found if series is not largest], found)
        note = f"of its {len(found)} images the largest is read, {_name(largest, found)}; left out: {others}"
    ome = _ome_image(file, largest, path)
    _check_one_plane(largest, ome, path)
    return Choice(largest, ome, note)


def channel_names(ome: ElementTree.Element | None) -> list[str]:
    """Of the channels of an OME image, in small letters; without those that have no name."""
    names = [] if ome is None else [channel.get("Name", "") for channel in ome.iterfind("{*}Pixels/{*}Channel")]
    return [name.strip().lower() for name in names if name.strip()]


def _check_one_plane(series: tifffile.TiffPageSeries, ome: ElementTree.Element | None, path: Path) -> None:
    """One page holds all colours, or three pages one each."""
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


def _ome_image(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> ElementTree.Element | None:
    """The element that describes a series: the one that begins at its page, or the only one of its size."""
    if not file.ome_metadata:
        return None
    try:
        root = ElementTree.fromstring(file.ome_metadata)
    except ElementTree.ParseError as error:
        raise ImageError(f"{path} describes itself in OME-XML that cannot be read: {error}") from error
    page = series.keyframe
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


def _is_aside(series: tifffile.TiffPageSeries) -> bool:
    page = series.keyframe
    return bool(_ASIDE.search(series.name or "")) or page.is_reduced or page.subfiletype == 9


def _area(series: tifffile.TiffPageSeries) -> int:
    return int(series.keyframe.imagewidth * series.keyframe.imagelength)


def _name(series: tifffile.TiffPageSeries, everything: Sequence[tifffile.TiffPageSeries]) -> str:
    number = next(place for place, other in enumerate(everything, 1) if other is series)
    name = f" '{series.name}'" if series.name and series.name != "Baseline" else ""
    return f"image {number}{name} of {series.keyframe.imagewidth} × {series.keyframe.imagelength} pixels"


def _names(
    several: Sequence[tifffile.TiffPageSeries], everything: Sequence[tifffile.TiffPageSeries], most: int = 5
) -> str:
    names = [_name(series, everything) for series in several[:most]]
    return "; ".join(names) + (f" and {len(several) - most} more" if len(several) > most else "")
