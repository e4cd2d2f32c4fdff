"""Slides with drawn regions as something to cut patches from: a patch at a time, never the slide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from histoproto.data.cut import RegionOpener
from histoproto.errors import DataError
from histoproto.slides.many.folders import LeftOut
from histoproto.slides.many.tasks import OUTLINES, find_beside, find_slides, slide_stem
from histoproto.slides.reading.opening import open_slide, require_mpp
from histoproto.slides.reading.protocol import Pixels, SlideReader
from histoproto.slides.regions.classes import is_ignored, is_region, nearest, one_spelling
from histoproto.slides.regions.drawn import smaller_on_top
from histoproto.slides.regions.geojson import Annotations, Region, read_annotations
from histoproto.slides.regions.placing import check_places
from histoproto.slides.regions.polygons import paint_polygons
from histoproto.slides.task import SlideTask
from histoproto.tissue import TissueSet
from histoproto.words import counted


@dataclass(frozen=True)
class AnnotatedSlide:
    """A slide and the tissue drawn on it, at the scale of the patches (`histoproto.data.cut.Region`).

    Attributes:
        reader: the open slide.
        downsample: pixels of its level 0 per pixel of a patch.
        areas: the drawn regions, in pixels of the patches' scale. Where they overlap, the later one counts.
        tissue: the index of the tissue of each; C for those that are cut out of what they lie on.
        background: the label of what is in none: C.
        notes: what is odd about where they lie.
    """

    reader: SlideReader
    downsample: float
    areas: Sequence[shapely.Geometry]
    tissue: Sequence[int]
    background: int
    notes: tuple[str, ...] = ()
    _areas: NDArray[np.object_] = field(init=False)
    _tree: shapely.STRtree = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_areas", np.array(self.areas, dtype=object))
        object.__setattr__(self, "_tree", shapely.STRtree(self._areas))

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
        near = np.sort(self._tree.query(place))
        paint_polygons(labels, self._areas[near], np.array(self.tissue, dtype=np.uint8)[near], top, left)
        return labels


@dataclass(frozen=True)
class AnnotatedSlides:
    """What is in a folder of slides and annotations.

    Attributes:
        tissues: in the order of `classes.yaml`, or of the alphabet.
        regions: what opens each slide that has annotations, by name.
        without: names of slides that have none.
        cut_out: classes that are no tissue, and how many annotations have them: `Ignore*`, and what `classes.yaml` does
            not name. They are cut out of larger annotations that they lie on.
        silent: classes (None: annotations without one) that say nothing about tissue, and how many have them.
        notes: what else was left out, or taken otherwise than it is written.
    """

    tissues: TissueSet
    regions: dict[str, RegionOpener]
    without: list[str]
    cut_out: Counter[str]
    silent: Counter[str | None]
    notes: list[str]

    @property
    def sentences(self) -> list[str]:
        """All that was left out, or taken otherwise than it is written."""
        said = [f"left out, for there are no annotations: {', '.join(self.without)}"] if self.without else []
        if self.cut_out:
            said.append(f"annotations of no tissue, cut out of larger ones that they lie on: {_counted(self.cut_out)}")
        if self.silent:
            said.append(f"annotations that say nothing about tissue, left out: {_counted(self.silent)}")
        return [*said, *self.notes]


def find_annotated(
    slides: Path,
    mpp: float,
    annotations: Path | None = None,
    classes: TissueSet | None = None,
    slide_mpp: float | None = None,
    image: str | None = None,
) -> AnnotatedSlides:
    """Slides and the annotations that go with them by name, `SLIDE.geojson` (or `.geojson.gz`), as QuPath exports them.

    Args:
        slides: a folder of slides, one slide, a pattern or a table of slides.
        mpp: µm/px of the patches.
        annotations: the folder of the annotations; None: beside each slide.
        classes: the tissues; a class that is derived from one of them counts as it. None: all classes found, in the
            order of the alphabet, but for those that QuPath ignores (their names end in `*`).
        slide_mpp: µm/px of slides that do not say.
        image: number or name of the image that is meant, where a TIFF file holds several.

    Raises:
        DataError: no slides, no annotations, no classes in them, two slides of one name, or a broken file.
    """
    left_out = LeftOut()
    found_slides = find_slides([slides], slide_mpp, left_out=left_out, image=image)
    stems, tasks = Counter(slide_stem(task.path) for task in found_slides), {task.path: task for task in found_slides}
    if double := [stem for stem, count in stems.items() if count > 1]:
        raise DataError(f"{slides} has more than one slide named {double[0]!r}; names must differ")
    drawn = {path: find_beside(annotations or path.parent, slide_stem(path), OUTLINES) for path in tasks}
    pairs = {path: file for path, file in drawn.items() if file is not None}
    if not pairs:
        raise DataError(
            f"none of {counted(len(tasks), 'slide')} has annotations: expected "
            f"{slide_stem(next(iter(tasks)))}.geojson, exported from QuPath, in {annotations or slides}"
        )
    found, notes = Counter[str | None](), [*left_out.notes]
    for path, file in pairs.items():
        others = [file.with_name(slide_stem(path) + ending) for ending in OUTLINES]
        if aside := [other.name for other in others if other != file and other.is_file()]:
            notes.append(f"{', '.join(aside)} is left out, as {file.name} is there, too")
    for file in pairs.values():
        content = _annotations(file, file.stat().st_mtime_ns)
        found.update(name for _, name in content.regions)
        notes += [f"{file.name}: {note}" for note in content.notes]
    named = {name: count for name, count in found.items() if name is not None}
    tissues = classes
    if tissues is None:
        one = one_spelling(
            {name: count for name, count in named.items() if not is_ignored(name) and not is_region(name)}
        )
        tissues = TissueSet.of(*sorted(set(one.values()))) if one else None
    meaning = {name: _meaning(name, tissues.names) for name in found} if tissues else {}
    if tissues is None or not any(index is not None and index < len(tissues) for index in meaning.values()):
        raise DataError(
            "no annotation has the class of a tissue; there are "
            + ", ".join(f"{count} {name or 'without a class'}" for name, count in found.items())
        )
    for name, index in meaning.items():
        if index is not None and index < len(tissues) and name != tissues.names[index]:
            notes.append(f"the class {name} is taken for {tissues.names[index]}")
    openers: dict[str, RegionOpener] = {
        slide_stem(path): partial(_open, tasks[path], file, meaning, len(tissues), mpp) for path, file in pairs.items()
    }
    return AnnotatedSlides(
        tissues,
        openers,
        [slide_stem(path) for path, file in drawn.items() if file is None],
        Counter({name: count for name, count in named.items() if meaning[name] == len(tissues)}),
        Counter({name: count for name, count in found.items() if meaning[name] is None}),
        notes,
    )


def _counted(classes: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {name or 'without a class'}" for name, count in classes.items())


def _meaning(name: str | None, tissues: Sequence[str]) -> int | None:
    """The index of a class's tissue, C if it is cut out of what it lies on, None if it says nothing about tissue."""
    if name is None:
        return None
    tissue = nearest(name, tissues)
    if tissue is not None and (name == tissue or not is_ignored(name)):
        return tissues.index(tissue)
    return None if is_region(name) else len(tissues)


@lru_cache(maxsize=1)
def _annotations(file: Path, changed: int) -> Annotations:
    """What was drawn on a slide; of one slide alone it is read once, though it is asked for twice."""
    return read_annotations(file)


@contextmanager
def _open(
    task: SlideTask,
    annotations: Path,
    meaning: dict[str | None, int | None],
    tissues: int,
    mpp: float,
) -> Iterator[AnnotatedSlide]:
    content = _annotations(annotations, annotations.stat().st_mtime_ns)
    drawn = [region for region in content.regions if meaning.get(region.classification) is not None]
    with open_slide(task.path, task.mpp, task.image) as reader:
        slide_mpp = require_mpp(reader, "--region-mpp", wanted=mpp)
        notes = check_places(drawn, reader.width, reader.height, slide_mpp, annotations) if drawn else []
        drawn = [drawn[index] for index in smaller_on_top([region.geometry for region in drawn])]
        labels = [meaning[region.classification] or 0 for region in drawn]
        _refuse_twins(drawn, labels, annotations)
        downsample = mpp / slide_mpp
        areas = shapely.transform(
            np.array([region.geometry for region in drawn], dtype=object), lambda points: points / downsample
        )
        yield AnnotatedSlide(reader, downsample, areas, labels, tissues, (*reader.notes, *notes))


def _refuse_twins(drawn: Sequence[Region], labels: Sequence[int], source: Path) -> None:
    """Of two annotations with the same outline, neither is the smaller one."""
    for (one, two), (label, other) in zip(pairwise(drawn), pairwise(labels), strict=True):
        if label != other and one.geometry.area == two.geometry.area and one.geometry.equals(two.geometry):
            raise DataError(
                f"{source}: two annotations have the same outline, but one has the class {one.classification} and one "
                f"{two.classification}; remove one of them"
            )
