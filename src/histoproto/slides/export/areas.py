"""How much of each tissue there is on a slide, and in each region of interest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely

from histoproto.documents.tables import read_table, write_table
from histoproto.errors import DocumentError
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.regions.classes import is_ignored
from histoproto.slides.regions.drawn import Drawing
from histoproto.slides.regions.geojson import Region
from histoproto.slides.regions.polygons import count_labels
from histoproto.tissue import TissueSet

WHOLE_SLIDE = "slide"
BACKGROUND = "background"
HEADER = ("region", "tissue", "mm2", "percent", "pixels")
MOST = 512 << 20
"""Bytes of a table of areas: of about two million regions."""
AT_ONCE = 1 << 20
"""Pixels that are counted at once; counting takes eight bytes for each."""


class AreaRow(NamedTuple):
    """The area of one tissue, or of background, in one region."""

    region: str
    """`WHOLE_SLIDE`, or the number and class of a region: `2 Tumor`."""
    tissue: str
    """Name, or `BACKGROUND`."""
    pixels: int
    percent: float
    """Of the tissue in the region, 0 … 100; NaN for background and where there is no tissue."""
    mm2: float
    """NaN where the scale is not known."""


def slide_areas(
    raster: LabelRaster,
    tissues: TissueSet,
    mpp: float | None,
    regions: Sequence[Region] = (),
    downsample: float = 1.0,
    origin: tuple[float, float] = (0, 0),
) -> list[AreaRow]:
    """Areas of each tissue and of background: of the whole slide, then of each region by itself.

    Args:
        raster: label map, C is background.
        tissues: their names.
        mpp: µm per pixel of the raster, if known.
        regions: in pixels of level 0, as `read_geojson` gives them; they may overlap. What `Ignore*` and the like cut
            out of them is not counted (`histoproto.slides.regions.drawn`).
        downsample: pixels of level 0 per pixel of the raster.
        origin: x and y of the raster's corner in pixels of level 0.
    """
    ignored = [is_ignored(region.classification) for region in regions]
    kept = [index for index, cut_out in enumerate(ignored) if not cut_out]
    drawn = np.array([region.geometry for region in regions], dtype=object)
    scaled = shapely.transform(drawn, lambda xy: (xy - origin) / downsample)
    drawing = Drawing(scaled, ignored) if any(ignored) else None
    shapes = scaled[kept]
    y0, y1 = shapely.bounds(shapes)[:, [1, 3]].T
    counts = np.zeros((len(kept) + 1, len(tissues) + 1), np.int64)
    for top, block in raster.rows(max(1, AT_ONCE // raster.width)):
        counts[0] += np.bincount(block.reshape(-1), minlength=len(tissues) + 1)
        near = np.flatnonzero((y0 < top + len(block)) & (y1 > top))
        if not near.size:
            continue
        if drawing is not None:
            block = np.where(drawing.inside(len(block), raster.width, top), block, np.int16(-1))
        counts[near + 1] += count_labels(block, len(tissues) + 1, shapes[near], top=top)
    names = [WHOLE_SLIDE, *(f"{index + 1} {regions[index].classification or 'region'}" for index in kept)]
    pixel_mm2 = math.nan if mpp is None else (mpp / 1000) ** 2
    rows, labels = [], (*tissues.names, BACKGROUND)
    for name, pixels in zip(names, counts.tolist(), strict=True):
        total = sum(pixels[:-1])
        for tissue, count in zip(labels, pixels, strict=True):
            share = 100 * count / total if total and tissue != BACKGROUND else math.nan
            rows.append(AreaRow(name, tissue, count, share, count * pixel_mm2))
    return rows


def write_areas(path: Path, rows: Sequence[AreaRow]) -> None:
    """Write a CSV: region, tissue, mm2, percent, pixels; NaN is left empty.

    Raises:
        OutputError: the file cannot be written.
    """
    cells = ((row.region, row.tissue, _number(row.mm2, 6), _number(row.percent, 3), row.pixels) for row in rows)
    write_table(path, HEADER, cells)


def read_areas(path: Path, regions: bool = True) -> list[AreaRow]:
    """Read what `write_areas` wrote.

    Args:
        path: of the file.
        regions: also those of the regions, of which there may be hundreds of thousands. Without them, it is still
            checked that the file is whole.

    Raises:
        DocumentError: it cannot be read, or is something else.
    """
    table = read_table(path, MOST, None if regions else lambda cells: cells[0] == WHOLE_SLIDE)
    if set(table.header) != set(HEADER):
        raise DocumentError(f"{path} is no table of areas: expected the columns {', '.join(HEADER)}")
    if not table.rows:
        raise DocumentError(f"{path} holds no areas")
    try:
        return [
            AreaRow(
                row["region"],
                row["tissue"],
                int(row["pixels"]),
                float(row["percent"] or math.nan),
                float(row["mm2"] or math.nan),
            )
            for row in table.rows
        ]
    except ValueError as error:
        raise DocumentError(f"{path} is no table of areas: {error}") from error


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
