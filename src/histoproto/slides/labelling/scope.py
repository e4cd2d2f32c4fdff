"""Which part of a slide is segmented: its tissue, or the regions that the user drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from histoproto.data.images import EXTENSIONS
from histoproto.data.masks import read_selection
from histoproto.errors import DataError
from histoproto.inference.resampling import resample_image
from histoproto.slides.labelling.tissue_finder import find_tissue
from histoproto.slides.reading.protocol import Pixels, SlideReader
from histoproto.slides.regions.classes import is_ignored
from histoproto.slides.regions.drawn import Drawing
from histoproto.slides.regions.geojson import Region, read_annotations
from histoproto.slides.regions.placing import check_places

OVERVIEW_SIDE = 2048
"""Pixels of the longer side of the picture of a whole slide."""
GLASS_SAID = 0.5
"""Share of glass within tissue from which on it is told; lung and fat hold much, and rightly."""
TISSUE_MPP, TISSUE_SIDE = 4.0, 1280
"""Tissue is looked for at 4 µm/px, or coarser if the slide would be longer than 1280 pixels."""
GREY = 200
"""Grey level below which something is on the glass."""

Mask = NDArray[np.bool_]
Edges = NDArray[np.float64]


class Scope(Protocol):
    """A part of a slide. All positions in pixels of level 0."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of what the user gave, or taken otherwise than one might think."""

    def touched(self, tops: Edges, bottoms: Edges, lefts: Edges, rights: Edges) -> Mask:
        """Whether any of it lies in the rectangles of a grid: R rows and S columns with these edges → R×S."""

    def inside(self, left: float, top: float, width: int, height: int, downsample: float) -> Mask:
        """Which pixels of a region at some scale (as in `SlideReader.read`) belong to it: height × width."""

    def shares(self, tops: Edges, lefts: Edges, where: Mask, points: int, step: float) -> Edges:
        """How much of the squares of a grid belongs to it: R tops and S lefts → R×S in [0, 1], 0 but `where`.

        Each is asked for at points × points places, `step` apart.
        """


@dataclass(frozen=True)
class MaskScope:
    """What is true in a mask of the whole slide, H×W, of any resolution."""

    mask: Mask
    slide: tuple[int, int]
    """Height and width of level 0."""
    notes: tuple[str, ...] = ()

    def touched(self, tops: Edges, bottoms: Edges, lefts: Edges, rights: Edges) -> Mask:
        """See `Scope`."""
        sums = np.zeros((self.mask.shape[0] + 1, self.mask.shape[1] + 1), dtype=np.int32)
        np.cumsum(np.cumsum(self.mask, axis=0, dtype=np.int32), axis=1, out=sums[1:, 1:])
        (top, bottom), (left, right) = (
            np.clip([np.floor(first * length / side), np.ceil(last * length / side)], 0, length).astype(int)
            for first, last, length, side in (
                (tops, bottoms, self.mask.shape[0], self.slide[0]),
                (lefts, rights, self.mask.shape[1], self.slide[1]),
            )
        )
        counts = sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)] - sums[np.ix_(bottom, left)]
        return np.asarray(counts + sums[np.ix_(top, left)] > 0)

    def inside(self, left: float, top: float, width: int, height: int, downsample: float) -> Mask:
        """See `Scope`."""
        return self._at(top + (np.arange(height) + 0.5) * downsample, left + (np.arange(width) + 0.5) * downsample)

    def _at(self, *centres: NDArray[np.floating]) -> Mask:
        """At rows and columns of level 0: rows × columns."""
        lengths = zip(centres, self.mask.shape, self.slide, strict=True)
        places = [np.clip(at * length / side, 0, length - 1).astype(int) for at, length, side in lengths]
        within = [(at >= 0) & (at < side) for at, side in zip(centres, self.slide, strict=True)]
        return np.asarray(self.mask[np.ix_(*places)] & within[0][:, None] & within[1])

    def shares(self, tops: Edges, lefts: Edges, where: Mask, points: int, step: float) -> Edges:
        """See `Scope`."""
        inner = (np.arange(points) + 0.5) * step
        columns = (lefts[:, None] + inner).ravel()
        rows = [self._at(top + inner, columns).reshape(points, len(lefts), points).mean(axis=(0, 2)) for top in tops]
        return np.where(where, np.reshape(rows, where.shape), 0)


@dataclass(frozen=True)
class DrawnScope:
    """What lies in regions that a person drew, in pixels of level 0, without what is cut out of them (`Ignore*`)."""

    regions: Sequence[Region]
    notes: tuple[str, ...] = ()
    _drawing: Drawing = field(init=False)

    def __post_init__(self) -> None:
        ignored = [is_ignored(region.classification) for region in self.regions]
        object.__setattr__(self, "_drawing", Drawing([region.geometry for region in self.regions], ignored))

    def touched(self, tops: Edges, bottoms: Edges, lefts: Edges, rights: Edges) -> Mask:
        """See `Scope`."""
        boxes = shapely.box(lefts, tops[:, None], rights, bottoms[:, None])
        return self._drawing.touches(boxes.ravel()).reshape(boxes.shape)

    def inside(self, left: float, top: float, width: int, height: int, downsample: float) -> Mask:
        """See `Scope`."""
        return self._drawing.inside(height, width, top, left, downsample)

    def shares(self, tops: Edges, lefts: Edges, where: Mask, points: int, step: float) -> Edges:
        """See `Scope`."""
        found = np.zeros(where.shape)
        for row, column in np.argwhere(where):
            found[row, column] = self.inside(lefts[column], tops[row], points, points, step).mean()
        return found


def find_scope(reader: SlideReader, mpp: float, regions: Path | None = None, overview: Pixels | None = None) -> Scope:
    """The part of a slide to segment: the user's regions if there are any, else its tissue.

    Args:
        reader: the slide.
        mpp: its µm/px.
        regions: GeoJSON (QuPath) in pixels of level 0, or a mask image of the whole slide at any resolution
            (`histoproto.data.masks.read_selection`); None: tissue is found by its colour.
        overview: the whole slide at low resolution, if it is at hand.

    Raises:
        DataError, ImageError: regions that cannot be read or lie elsewhere, a mask of another shape than the slide's.
    """
    slide = (reader.height, reader.width)
    if regions is None:
        overview = reader.thumbnail(OVERVIEW_SIDE)[0] if overview is None else overview
        coarser = max(1.0, TISSUE_MPP / (mpp * slide[1] / overview.shape[1]), max(overview.shape[:2]) / TISSUE_SIDE)
        height, width = (max(1, round(side / coarser)) for side in overview.shape[:2])
        image = resample_image(overview, (height, width))
        if np.ptp(image, axis=2).max() == 0 and image.min() < GREY:
            raise DataError(
                f"{reader.path} is grey, and tissue is found and told apart by its colour; draw it (--regions), or "
                "take a picture in colour"
            )
        tissue = find_tissue(image, mpp * slide[1] / width)
        return MaskScope(tissue.mask, slide, tissue.notes)
    if is_image(regions):
        return _selected(reader, regions)
    drawn = read_annotations(regions)
    if all(is_ignored(region.classification) for region in drawn.regions):
        names = ", ".join(sorted({region.classification or "" for region in drawn.regions}))
        raise DataError(f"{regions} holds nothing but {names}, which is cut out of regions; expected a region, too")
    odd = check_places(drawn.regions, reader.width, reader.height, mpp, regions)
    return DrawnScope(drawn.regions, (*drawn.notes, *odd))


def is_image(regions: Path) -> bool:
    """Whether a file of regions is a mask image; else it is GeoJSON."""
    return regions.suffix.lower() in EXTENSIONS


def if_glass(labelled: int, glass: int) -> tuple[str, ...]:
    """A sentence where most of what was to be labelled (pixels) got no label, being as bright as glass."""
    share = glass / max(1, labelled + glass)
    if share <= GLASS_SAID:
        return ()
    return (
        f"{share:.0%} of the tissue, as it is seen from afar, is as bright as glass and left out; where that is pale "
        "tissue, segment with --background none",
    )


def _selected(reader: SlideReader, path: Path) -> MaskScope:
    mask, notes = read_selection(path)
    if abs(mask.shape[1] * reader.height / (mask.shape[0] * reader.width) - 1) > 0.05:
        raise DataError(
            f"the mask {path} is {mask.shape[1]} × {mask.shape[0]} pixels, which is not the shape of the slide "
            f"{reader.path} ({reader.width} × {reader.height}); it must cover the whole slide"
        )
    return MaskScope(mask, (reader.height, reader.width), notes)
