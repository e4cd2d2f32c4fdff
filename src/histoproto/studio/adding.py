"""Slides that come to a project, move, or are gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from histoproto.errors import DataError, HistoProtoError, sentence
from histoproto.slides.many.tasks import name_slides
from histoproto.slides.reading.opening import open_slide, require_mpp
from histoproto.slides.task import SlideTask
from histoproto.studio.project import Project
from histoproto.studio.records import SlideRow
from histoproto.studio.scales import Waiting

Told = Callable[[str], None]


def add_slides(
    project: Project,
    tasks: Sequence[SlideTask] | Mapping[str, SlideTask],
    told: Told = lambda _: None,
    noted: Told = lambda _: None,
    failed: Told | None = None,
    waits: Callable[[Waiting], None] | None = None,
) -> int:
    """Add slides that are not yet in the project: find their tissue and plan their tiles; the number of new ones.

    A slide of a name that is there, but whose file is gone, is taken for that one in a new place.

    Args:
        project: which.
        tasks: the slides, or slides by the names that they are to have.
        told: what is done now.
        noted: sentences on what was chosen or assumed of a slide, and of one without tissue.
        failed: is given what is wrong with a slide, and the others are added; None: it is raised.
        waits: is given a slide of unknown µm/px, and the others are added; None: it is wrong.

    Raises:
        DataError: a slide of unknown µm/px; ImageError: one that cannot be read.
    """
    known = {slide.path for slide in project.store.slides()}
    there = {slide.name: slide for slide in project.store.slides()}
    named = tasks if isinstance(tasks, Mapping) else name_slides(tasks)
    open_ = {name: task for name, task in named.items() if task.path.resolve() not in known}
    for number, (name, task) in enumerate(open_.items()):
        told(f"looking for tissue on {name}" + (f", {number + 1} of {len(open_)}" if len(open_) > 1 else ""))
        try:
            if name in there:
                _move(project, there[name], task.path.resolve(), task.mpp)
            else:
                _add(project, name, task, noted, waits)
        except HistoProtoError as error:
            if failed is None:
                raise
            failed(sentence(error))
    return len(project.store.slides()) - len(there)


def missing_slides(project: Project) -> list[str]:
    """Names of the slides whose files are not where they were."""
    return [slide.name for slide in project.store.slides() if not slide.path.exists()]


def _add(project: Project, name: str, task: SlideTask, noted: Told, waits: Callable[[Waiting], None] | None) -> None:
    from histoproto.slides.patches.unlabelled import TileSettings, tile_places  # SciPy: not for every start

    size, wanted = project.settings.tile, project.settings.mpp
    path = task.path.resolve()
    if task.image is not None:
        raise DataError(
            f"the studio shows the largest image of a file; image {task.image!r} of {path} cannot be chosen"
        )
    with open_slide(path, task.mpp) as reader:
        if reader.mpp is None and waits:
            waits(Waiting.of(name, task, reader))
            return
        mpp = require_mpp(reader)
        downsample = wanted / mpp
        places = tile_places(reader, mpp, TileSettings(wanted, size), task.regions)
        tiles = [
            (left * downsample, top * downsample, size * downsample, project.is_check(name, index))
            for index, top, left in places
        ]
        project.store.add_slide(SlideRow(name, path, mpp, reader.width, reader.height), tiles)
        for note in reader.notes:
            noted(f"{name}: {note}")
        if not tiles and not any(note.startswith("no tissue") for note in reader.notes):
            noted(f"{name} has no tile of {size} px at {wanted:g} µm/px with tissue")


def _move(project: Project, slide: SlideRow, path: Path, mpp: float | None) -> None:
    if slide.path.exists():
        raise DataError(f"{path} and another slide of the project are both called {slide.name!r}; rename one")
    with open_slide(path, mpp) as reader:
        if (reader.width, reader.height) != (slide.width, slide.height):
            raise DataError(
                f"{path} ({reader.width}×{reader.height} px) is another slide than {slide.name!r} of the project "
                f"({slide.width}×{slide.height} px), which was at {slide.path}; rename it, or put that one back"
            )
    project.store.add_slide(replace(slide, path=path), [])
