"""What of a label map is measured: all of it, or what lies in a region that somebody drew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.regions.classes import is_ignored
from histoproto.slides.regions.drawn import Drawing
from histoproto.slides.regions.geojson import Region
from histoproto.slides.regions.polygons import fill_polygons

Labels = NDArray[np.uint8]

WHOLE_SLIDE = "slide"
MOST = 1000
"""Regions that are measured unasked; each takes some milliseconds and twenty rows."""
NOTHING = 255
"""Label of pixels outside of a part. Whatever is no tissue, background too, has a label of C or above."""


@dataclass(frozen=True)
class Part:
    """A rectangle of a label map, and what of it counts.

    Attributes:
        name: `slide`, or the number and class of a region: `2 Tumor`.
        top, left, height, width: of the rectangle, in pixels of the map.
        shape: pixels whose centre is outside do not count; None: all do.
        drawing: what is cut out of regions does not count either.
    """

    name: str
    top: int
    left: int
    height: int
    width: int
    shape: shapely.Geometry | None = None
    drawing: Drawing | None = None

    def read(self, raster: LabelRaster, top: int, left: int, height: int, width: int) -> Labels:
        """A block of the map, `NOTHING` where it does not count."""
        labels = raster.read(top, left, height, width)
        if self.shape is not None:
            labels[~fill_polygons([self.shape], height, width, top, left)] = NOTHING
        if self.drawing is not None:
            labels[~self.drawing.inside(height, width, top, left)] = NOTHING
        return labels

    def strips(self, raster: LabelRaster, step: int, below: int) -> Iterator[tuple[Labels, int]]:
        """(block, rows) from top to bottom: some rows that come next, and up to `below` of those that follow."""
        bottom = self.top + self.height
        for top in range(self.top, bottom, step):
            rows = min(step, bottom - top)
            yield self.read(raster, top, self.left, min(rows + below, bottom - top), self.width), rows


def if_few(regions: Sequence[Region]) -> tuple[Sequence[Region], tuple[str, ...]]:
    """The regions that are measured unasked, all or none, and what is to be said of it."""
    if len(regions) <= MOST:
        return regions, ()
    return (), (f"its {len(regions)} regions are not in measures.csv; histoproto measure --regions measures them",)


def parts_of(raster: LabelRaster, regions: Sequence[Region] = (), downsample: float = 1.0) -> list[Part]:
    """The whole map, then each region by itself; they may overlap, and those outside of the map are empty.

    Args:
        raster: the map.
        regions: in pixels of level 0; `Ignore*` and the like are no regions and are cut out of the others.
        downsample: pixels of level 0 per pixel of the map.
    """
    parts = [Part(WHOLE_SLIDE, 0, 0, raster.height, raster.width)]
    ignored = [is_ignored(region.classification) for region in regions]
    scaled = shapely.transform(
        np.array([region.geometry for region in regions], dtype=object), lambda points: points / downsample
    )
    drawing = Drawing(scaled, ignored) if any(ignored) else None
    for number, (region, shape, cut_out) in enumerate(zip(regions, scaled, ignored, strict=True), start=1):
        if cut_out:
            continue
        x0, y0, x1, y1 = shapely.bounds(shape)
        left, right = (int(x) for x in np.clip((np.floor(x0), np.ceil(x1)), 0, raster.width))
        top, bottom = (int(y) for y in np.clip((np.floor(y0), np.ceil(y1)), 0, raster.height))
        name = f"{number} {region.classification or 'region'}"
        parts.append(Part(name, top, left, bottom - top, right - left, shape, drawing))
    return parts
