"""How much of each tissue there is on a slide, and in each region of interest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from histoproto.documents.tables import read_table, write_table
from histoproto.errors import DocumentError
from histoproto.inference.windows import CELL
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.labelling.trust import Trust
from histoproto.slides.regions.classes import is_ignored
from histoproto.slides.regions.drawn import Drawing
from histoproto.slides.regions.geojson import Region
from histoproto.slides.regions.polygons import count_labels
from histoproto.tissue import UNCERTAIN, TissueSet
from histoproto.words import listed

WHOLE_SLIDE = "slide"
BACKGROUND = "background"
MOST = 512 << 20
"""Bytes of a table of areas: of about two million regions."""
HEADER = ("region", "tissue", "mm2", "percent", "pixels", "doubtful %", "strange %")
FORMER = HEADER[:5]
"""Of earlier versions, which knew neither."""
AT_ONCE = 1 << 20
"""Pixels that are counted at once; counting takes eight bytes for each."""


class AreaRow(NamedTuple):
    """The area of one tissue, or of background, in one region."""

    region: str
    """`WHOLE_SLIDE`, or the number and class of a region: `2 Tumor`."""
    tissue: str
    """Name, `BACKGROUND` or `UNCERTAIN`."""
    pixels: int
    percent: float
    """Of the tissue in the region, uncertain places included, 0 … 100; NaN for background and where there is none."""
    mm2: float
    """NaN where the scale is not known."""
    doubtful: float = math.nan
    """Share of this area, 0 … 100, that lies in doubtful cells (chance below `DOUBTFUL`); NaN where nobody asked."""
    strange: float = math.nan
    """Share of it that is unlike the training patches; NaN where nothing is known."""


def slide_areas(
    raster: LabelRaster,
    tissues: TissueSet,
    mpp: float | None,
    regions: Sequence[Region] = (),
    downsample: float = 1.0,
    origin: tuple[float, float] = (0, 0),
    trust: Trust | None = None,
) -> list[AreaRow]:
    """Areas of each tissue, of background, and of uncertain places if there are any.

    Of the whole slide first, then of each region by itself.

    Args:
        raster: label map, C is background, C + 1 uncertain.
        tissues: their names.
        mpp: µm per pixel of the raster, if known.
        regions: in pixels of level 0, as `read_geojson` gives them; they may overlap. What `Ignore*` and the like cut
            out of them is not counted (`histoproto.slides.regions.drawn`).
        downsample: pixels of level 0 per pixel of the raster.
        origin: x and y of the raster's corner in pixels of level 0.
        trust: what is known of doubt and strangeness.
    """
    ignored = [is_ignored(region.classification) for region in regions]
    kept = [index for index, cut_out in enumerate(ignored) if not cut_out]
    drawn = np.array([region.geometry for region in regions], dtype=object)
    scaled = shapely.transform(drawn, lambda xy: (xy - origin) / downsample)
    drawing = Drawing(scaled, ignored) if any(ignored) else None
    shapes = scaled[kept]
    y0, y1 = shapely.bounds(shapes)[:, [1, 3]].T
    count = len(tissues) + 2
    counts = np.zeros((3, len(kept) + 1, count), np.int64)  # all, doubtful, strange
    for top, block in raster.rows(max(1, AT_ONCE // raster.width)):
        flags = trust.flags(top, len(block), raster.width, CELL) if trust else ()
        near = np.flatnonzero((y0 < top + len(block)) & (y1 > top))
        inside = drawing.inside(len(block), raster.width, top) if drawing is not None and near.size else None
        for kind, flag in enumerate((None, *flags)):
            if kind and flag is None:
                continue
            counts[kind, 0] += np.bincount((block if flag is None else block[flag]).reshape(-1), minlength=count)
            if near.size:
                chosen = block if flag is None else np.where(flag, block, np.int16(-1))
                chosen = chosen if inside is None else np.where(inside, chosen, np.int16(-1))
                counts[kind, near + 1] += count_labels(chosen, count, shapes[near], top=top)
    names = [WHOLE_SLIDE, *(f"{index + 1} {regions[index].classification or 'region'}" for index in kept)]
    known = (True, trust is not None, trust is not None and trust.strange is not None)
    labels = (*tissues.names, BACKGROUND, UNCERTAIN)[: count if counts[0, 0, -1] else count - 1]
    return [
        _row(name, label, counts[:, region], index, mpp, known)
        for region, name in enumerate(names)
        for index, label in enumerate(labels)
    ]


def if_empty(rows: Sequence[AreaRow]) -> tuple[str, ...]:
    """A sentence on regions in which no pixel lies, too small or outside; none if there are none."""
    pixels: Counter[str] = Counter()
    for row in rows:
        pixels[row.region] += row.pixels
    empty = [region for region, count in pixels.items() if not count]
    return (f"no pixel of the map lies in the regions {listed(empty)}",) if empty else ()


def _row(
    region: str, label: str, counts: NDArray[np.int64], index: int, mpp: float | None, known: Sequence[bool]
) -> AreaRow:
    """A row of the counts of a region, 3 × labels: all of it, doubtful, strange."""
    total, pixels = int(counts[0].sum() - counts[0, -2]), int(counts[0, index])
    area = math.nan if mpp is None else pixels * (mpp / 1000) ** 2
    if label == BACKGROUND:
        return AreaRow(region, label, pixels, math.nan, area)
    doubtful, strange = (
        100 * int(counts[kind, index]) / pixels if pixels and known[kind] else math.nan for kind in (1, 2)
    )
    return AreaRow(region, label, pixels, 100 * pixels / total if total else math.nan, area, doubtful, strange)


def write_areas(path: Path, rows: Sequence[AreaRow]) -> None:
    """Write a CSV with the columns of `HEADER`; NaN is left empty.

    Raises:
        OutputError: the file cannot be written.
    """
    cells = (
        (*row[:2], _number(row.mm2, 6), _number(row.percent, 3), row.pixels, *(_number(share, 2) for share in row[5:]))
        for row in rows
    )
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
    if set(table.header) not in (set(HEADER), set(FORMER)):
        raise DocumentError(f"{path} is no table of areas: expected the columns {', '.join(HEADER)}")
    if not table.rows:
        raise DocumentError(f"{path} holds no areas")
    try:
        rows = [
            AreaRow(
                row["region"],
                row["tissue"],
                int(row["pixels"]),
                float(row["percent"] or math.nan),
                float(row["mm2"] or math.nan),
                float(row.get("doubtful %") or math.nan),
                float(row.get("strange %") or math.nan),
            )
            for row in table.rows
        ]
    except ValueError as error:
        raise DocumentError(f"{path} is no table of areas: {error}") from error
    if odd := next((row for row in rows if row.pixels < 0 or any(map(_is_impossible, row[3:]))), None):
        raise DocumentError(f"{path} is no table of areas: {odd.tissue} has a number that no area has")
    return rows


def _is_impossible(number: float) -> bool:
    return number < 0 or math.isinf(number)


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def share_of_tissue(rows: Sequence[AreaRow], column: Literal["doubtful", "strange"]) -> float:
    """Share of all tissue of the whole slide, 0 … 100, that is doubtful or strange; NaN if it is not known."""
    whole = [row for row in rows if row.region == WHOLE_SLIDE and row.tissue != BACKGROUND and row.pixels]
    known = [(getattr(row, column), row.pixels) for row in whole if not math.isnan(getattr(row, column))]
    return sum(share * pixels for share, pixels in known) / sum(p for _, p in known) if known else math.nan
