"""Two projects become one: all slides, all tiles, and every event of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from histoproto.errors import DataError
from histoproto.studio.project import Project
from histoproto.studio.records import Event, SlideRow, Tile

Place = tuple[str, float, float, float]
"""What names a tile in every project: slide, x, y and side."""


@dataclass(frozen=True)
class Merged:
    """What came of it.

    Attributes:
        tiles: that have a label now.
        events: that were taken over, each once though both projects may have it.
        conflicts: tiles of which the two say different things; both are kept, and the later one stands.
    """

    tiles: int
    events: int
    conflicts: int


def merge_projects(one: Path, other: Path, out: Path) -> Merged:
    """Make a new project of two with the same settings; the two are left as they are.

    Raises:
        DataError: one is no project, their settings differ, or a slide of one name is another slide.
        OutputError: `out` is there already, or cannot be written.
    """
    first, second = Project.open(one), Project.open(other)
    for name in sorted({*type(first.settings).model_fields} - {"doubles"}):
        values = [getattr(project.settings, name) for project in (first, second)]
        if values[0] != values[1]:
            raise DataError(f"{one} and {other} cannot be merged: their {name} differ ({values[0]} and {values[1]})")
    slides = {slide.name: slide for slide in first.store.slides()}
    for slide in second.store.slides():
        slides.setdefault(slide.name, slide)
        _refuse_another(slides[slide.name], slide, one, other)
    merged = Project.create(out, first.settings)
    try:
        for slide in slides.values():
            places = {
                _place(tile): tile.checks
                for project in (first, second)
                for tile in project.store.tiles().values()
                if tile.slide == slide.name
            }
            merged.store.add_slide(slide, [(*place[1:], checks) for place, checks in places.items()])
        number = {_place(tile): tile.id for tile in merged.store.tiles().values()}
        events = _joined(first, second, number)
        merged.store.copy_events(events)
        for project in (first, second):
            tiles = project.store.tiles()
            own, vectors = project.store.embeddings()
            looks = {number[_place(tiles[tile])]: look for tile, look in project.store.looks().items()}
            merged.store.embed([number[_place(tiles[int(tile)])] for tile in own], vectors.astype(np.float16), looks)
        return Merged(len(merged.store.labels()), len(events), _conflicts(first, second))
    finally:
        for project in (first, second, merged):
            project.store.close()


def _place(tile: Tile) -> Place:
    return tile.slide, tile.x, tile.y, tile.side


def _refuse_another(one: SlideRow, other: SlideRow, first: Path, second: Path) -> None:
    if (one.width, one.height, one.mpp) != (other.width, other.height, other.mpp):
        raise DataError(
            f"the slide {one.name!r} of {first} ({one.width}×{one.height} px, {one.mpp:g} µm/px) is another one than "
            f"that of {second} ({other.width}×{other.height} px, {other.mpp:g} µm/px); rename one"
        )


def _joined(first: Project, second: Project, number: dict[Place, int]) -> list[Event]:
    """The events of both by time, with tiles and numbers of the merged project; those that both have are there once."""
    found: list[tuple[str, Event]] = []
    known: dict[tuple[object, ...], int] = {}
    for project in (first, second):
        tiles = project.store.tiles()
        own: dict[int, int] = {}
        latest = ""  # a clock that was put back does not change the order within a project
        for event in project.store.events():
            undone = None if event.undoes is None else own[event.undoes]
            moved = event._replace(tile=number[_place(tiles[event.tile])], undoes=undone)
            own[event.id] = known.setdefault(moved[1:], len(known))
            latest = max(latest, event.time)
            if own[event.id] == len(found):
                found.append((latest, moved._replace(id=own[event.id])))
    return [event for _, event in sorted(found, key=lambda pair: (pair[0], pair[1].id))]


def _conflicts(first: Project, second: Project) -> int:
    said = []
    for project in (first, second):
        tiles = project.store.tiles()
        labels = project.store.labels()
        said.append({_place(tiles[tile]): (label.verdict, label.ticks) for tile, label in labels.items()})
    return sum(said[0][place] != said[1][place] for place in said[0].keys() & said[1].keys())
