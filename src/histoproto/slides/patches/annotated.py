"""Slides with drawn regions as something to cut patches from: a patch at a time, never the slide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from histoproto.data.cut import RegionOpener
from histoproto.errors import DataError
from histoproto.slides.many.tasks import find_beside, find_slides, slide_stem
from histoproto.slides.reading.opening import open_slide, require_mpp
from histoproto.slides.reading.protocol import Pixels, SlideReader
from histoproto.slides.regions.geojson import read_geojson
from histoproto.slides.regions.polygons import fill_polygons
from histoproto.tissue import TissueSet

ENDINGS = (".geojson", ".geojson.gz", ".json")
"""Of files of annotations, the first found is taken."""
IGNORED = "*"
"""QuPath's mark at the end of the names of classes that are no tissue: Ignore*, Region*, Artefact*."""


@dataclass(frozen=True)
class AnnotatedSlide:
    """A slide and the tissue drawn on it, at the scale of the patches (`histoproto.data.cut.Region`).

    Attributes:
        reader: the open slide.
        downsample: pixels of its level 0 per pixel of a patch.
        areas: the drawn regions, in pixels of the patches' scale. Where they overlap, the later one counts.
        tissue: the index of the tissue of each.
        background: the label of what is in none: C.
    """

    reader: SlideReader
    downsample: float
    areas: Sequence[shapely.Geometry]
    tissue: Sequence[int]
    background: int
    _tree: shapely.STRtree = field(init=False)

    def __post_init__(self) -> None:
        shapely.prepare(self.areas)
        object.__setattr__(self, "_tree", shapely.STRtree(self.areas))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return round(self.reader.height / self.downsample), round(self.reader.width / self.downsample)

    def counts(self, rows: NDArray[np.intp], columns: NDArray[np.intp], size: int) -> NDArray[np.int64]:
        """Pixels of each tissue in each patch of a grid, as rows × columns × tissues."""
        counts = np.zeros((rows.size, columns.size, self.background), dtype=np.int64)
        top, left = rows[:, None], columns[None, :]
        places = shapely.box(left, top, left + size, top + size)
        touched = np.unique(self._tree.query(places.ravel(), predicate="intersects")[0])
        for row, column in zip(*np.unravel_index(touched, places.shape), strict=True):
            labels = self.labels(int(rows[row]), int(columns[column]), size)
            counts[row, column] = np.bincount(labels.ravel(), minlength=self.background + 1)[: self.background]
        return counts

    def image(self, top: int, left: int, size: int) -> Pixels:
        """A patch, size × size × 3 RGB."""
        return self.reader.read(left * self.downsample, top * self.downsample, size, size, self.downsample)

    def labels(self, top: int, left: int, size: int) -> Pixels:
        """The label map of a patch: the tissue in which the centre of each pixel lies."""
        labels = np.full((size, size), self.background, dtype=np.uint8)
        place = shapely.box(left, top, left + size, top + size)
        for index in np.sort(self._tree.query(place, predicate="intersects")):
            area = self.areas[index]
            inside = ... if shapely.contains_properly(area, place) else fill_polygons([area], size, size, top, left)
            labels[inside] = self.tissue[index]
        return labels


@dataclass(frozen=True)
class AnnotatedSlides:
    """What is in a folder of slides and annotations.

    Attributes:
        tissues: in the order of `classes.yaml`, or of the alphabet.
        regions: what opens each slide that has annotations, by name.
        without: names of slides that have none.
        ignored: classes (None: annotations without one) that are no tissue, and how many annotations have them.
    """

    tissues: TissueSet
    regions: dict[str, RegionOpener]
    without: list[str]
    ignored: Counter[str | None]


def find_annotated(
    slides: Path,
    mpp: float,
    annotations: Path | None = None,
    classes: TissueSet | None = None,
    slide_mpp: float | None = None,
) -> AnnotatedSlides:
    """Slides and the annotations that go with them by name, `SLIDE.geojson` (or `.geojson.gz`), as QuPath exports them.

    Args:
        slides: a folder of slides, one slide, a pattern or a table of slides.
        mpp: µm/px of the patches.
        annotations: the folder of the annotations; None: beside each slide.
        classes: the tissues. Classes they do not name are left out. None: all classes found, in the
            order of the alphabet, but for those that QuPath ignores (their names end in `*`).
        slide_mpp: µm/px of slides that do not say.

    Raises:
        DataError: no slides, no annotations, no classes in them, two slides of one name, or a broken file.
    """
    tasks = {task.path: task for task in find_slides([slides], slide_mpp)}
    stems = Counter(map(slide_stem, tasks))
    if double := [stem for stem, count in stems.items() if count > 1]:
        raise DataError(f"{slides} has more than one slide named {double[0]!r}; names must differ")
    drawn = {path: find_beside(annotations or path.parent, slide_stem(path), ENDINGS) for path in tasks}
    pairs = {path: file for path, file in drawn.items() if file is not None}
    if not pairs:
        raise DataError(
            f"none of {len(tasks)} slides has annotations: expected {slide_stem(next(iter(tasks)))}.geojson, exported "
            f"from QuPath, in {annotations or slides}"
        )
    found = Counter(name for file in pairs.values() for _, name in read_geojson(file))
    known = classes
    names = list(known.names) if known else sorted(name for name in found if name and not name.endswith(IGNORED))
    used: Counter[str | None] = Counter({name: count for name, count in found.items() if name in names})
    if not used:
        raise DataError(
            "no annotation has the class of a tissue; there are "
            + ", ".join(f"{count} {name or 'without a class'}" for name, count in found.items())
        )
    tissues = known or TissueSet.of(*names)
    openers: dict[str, RegionOpener] = {
        slide_stem(path): partial(_open, path, tasks[path].mpp, file, tissues, mpp) for path, file in pairs.items()
    }
    without = [slide_stem(path) for path, file in drawn.items() if file is None]
    return AnnotatedSlides(tissues, openers, without, found - used)


@contextmanager
def _open(
    path: Path, slide_mpp: float | None, annotations: Path, tissues: TissueSet, mpp: float
) -> Iterator[AnnotatedSlide]:
    drawn = [region for region in read_geojson(annotations) if region.classification in tissues.names]
    drawn.sort(key=lambda region: -region.geometry.area)  # the smaller one lies on top
    labels = [tissues.names.index(region.classification or "") for region in drawn]
    with open_slide(path, slide_mpp) as reader:
        downsample = mpp / require_mpp(reader, "--region-mpp")
        areas = [shapely.transform(region.geometry, lambda points: points / downsample) for region in drawn]
        yield AnnotatedSlide(reader, downsample, areas, labels, len(tissues))
