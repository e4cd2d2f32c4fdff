"""The images that a TIFF file holds, one by one and numbered: series, and the pages of a stack."""

from __future__ import annotations

import re
from dataclasses import dataclass

import tifffile

from histoproto.printable import one_line

_ASIDE = re.compile(r"(?<![a-z])(label|macro|thumb\w*|overview|barcode|preview|navigation)(?![a-z])", re.IGNORECASE)
_LONGEST = 80
"""Letters of a name."""
_STACKED = "IQZT"
"""Axes of which each place is an image by itself: pages, what is not known, depth and time; not stains."""


@dataclass(frozen=True)
class StoredImage:
    """An image of a file.

    Attributes:
        number: in the file, from 1.
        series: that it is, or is a page of.
        page: which, of a stack of pages; None: the image is the series.
    """

    number: int
    series: tifffile.TiffPageSeries
    page: int | None = None

    @property
    def name(self) -> str:
        """Its own, shortened; empty if it has none."""
        return "" if self.series.name in (None, "Baseline") else one_line(self.series.name)[:_LONGEST]

    @property
    def area(self) -> int:
        """In pixels."""
        return int(self.series.keyframe.imagewidth * self.series.keyframe.imagelength)

    @property
    def is_aside(self) -> bool:
        """Whether it is a label, a macro picture, a thumbnail or an overview."""
        page = self.series.keyframe
        return bool(_ASIDE.search(self.name)) or page.is_reduced or page.subfiletype == 9

    @property
    def levels(self) -> list[list[tifffile.TiffPage]]:
        """The pages of each level, the finest first: one that holds all colours, or one for each."""
        return [
            [page.aspage() for place, page in enumerate(level.pages) if page and self.page in (None, place)]
            for level in self.series.levels  # a frame lends most of what it knows from another page, a page does not
        ]

    def __str__(self) -> str:
        page, name = self.series.keyframe, f" '{self.name}'" if self.name else ""
        axis = self.series.axes[0]
        plane = f", {axis} = {self.page}" if self.page is not None and axis in "ZT" else ""
        return f"image {self.number}{name} of {page.imagewidth} × {page.imagelength} pixels{plane}"


def stored_images(file: tifffile.TiffFile) -> list[StoredImage]:
    """All images of a file in its order; a stack that holds one image per page is as many."""
    found: list[StoredImage] = []
    for series in file.series:
        if {"Y", "X"} <= set(series.axes):
            pages = range(len(series.pages)) if _is_stack(series) else (None,)
            found += [StoredImage(len(found) + place, series, page) for place, page in enumerate(pages, 1)]
    return [image for image in found if image.area]


def _is_stack(series: tifffile.TiffPageSeries) -> bool:
    """Whether each page of a series is an image by itself."""
    axis, others, count = series.axes[0], series.axes[1:], len(series.pages)
    return (
        axis in _STACKED
        and set(others) <= set("YXS")
        and series.shape[0] == count > 1
        and all(len(level.pages) == count and all(map(_is_stored, level.pages)) for level in series.levels)
    )


def _is_stored(page: tifffile.TiffPage | tifffile.TiffFrame | None) -> bool:
    return page is not None and not (isinstance(page, tifffile.TiffFrame) and page.is_virtual)
