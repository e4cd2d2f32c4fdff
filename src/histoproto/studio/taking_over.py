"""Labels that are there already, taken over as events: a table of image labels, or regions drawn in QuPath."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from histoproto.data.cut_record import recorded_mpp
from histoproto.data.images import image_size
from histoproto.data.regions import find_tissues
from histoproto.data.table import LabelTable, find_table, read_labels
from histoproto.errors import DataError
from histoproto.slides.many.tasks import OUTLINES, find_beside, slide_stem
from histoproto.slides.patches.annotated import AnnotatedSlide, find_annotated
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.records import Tile
from histoproto.tissue import TissueSet

WHO = "import"
"""Who says what is taken over."""
DRAWN = 0.9
"""Least part of a tile that lies in drawn regions, for its labels to be known: what is not drawn may be anything."""
PRESENT = 0.05
"""Least part of a tile that a tissue covers to be in it, as in `histoproto data cut`."""
SAME = 0.9
"""Least part of an image that its tile covers, for the label of the image to be that of the tile."""


@dataclass
class TakenOver:
    """What came of it: how many tiles were labelled, and in words what was left out."""

    tiles: int = 0
    notes: list[str] = field(default_factory=list)


def settings_from(source: Path, mpp: float | None = None) -> ProjectSettings:
    """Settings of a project for a table of image labels: its tissues, the side of its images, and their scale.

    Raises:
        DataError: there is no such table, or its images are not square and of one size.
        SettingError: a side that no tile can have.
    """
    path, table = _table(source)
    sizes = {image_size(path.parent / row.image) for row in table.rows}
    if len(sizes) != 1 or len({side for size in sizes for side in size}) != 1:
        shown = ", ".join(sorted(f"{width}×{height}" for height, width in sizes)[:3])
        raise DataError(f"{path}: tiles are square and of one size, the images have {shown or 'none'}")
    side = sizes.pop()[0]
    tissues = find_tissues(path.parent) if (path.parent / "classes.yaml").is_file() else TissueSet.of(*table.tissues)
    content = tissues.to_dict() if tissues else {}
    return ProjectSettings.checked(
        {"tissues": content, "tile": side, "mpp": mpp or recorded_mpp(path.parent) or 0.5}, str(path)
    )


def take_over(project: Project, source: Path) -> TakenOver:
    """Take labels over from a table (a CSV, or the folder that holds it), or from GeoJSON (a file, or their folder).

    Each becomes an event by `import`, which says where it is from. A tile about which something stands already is left
    as it is, so that taking over again changes nothing and no person is overruled.

    Of a table, the rows for training count (those of `val` and `test` stay out), and the label of an image is that of
    its tile if the tile covers nine tenths of it. Of regions, a tile counts if nine tenths of it lie in them, and a
    tissue is in it from a twentieth on.

    Raises:
        DataError: nothing of it can be read, its tissues are not the project's, or no slide of the project is in it.
    """
    if source.suffix.lower() == ".csv" or (source.is_dir() and find_table(source)):
        return _from_table(project, source)
    return _from_regions(project, source)


def _table(source: Path) -> tuple[Path, LabelTable]:
    path = source if source.is_file() else find_table(source)
    if path is None:
        raise DataError(f"{source} holds no table of image labels; expected labels.csv")
    table = read_labels(path)
    if table.problems:
        raise DataError(f"{table.problems[0]} ({len(table.problems)} problems; `histoproto data check` lists them)")
    return path, table


def _from_table(project: Project, source: Path) -> TakenOver:
    path, table = _table(source)
    if set(table.tissues) != set(project.tissues.names):
        raise DataError(
            f"{path} has the tissues {', '.join(table.tissues)}, the project {', '.join(project.tissues.names)}; they "
            "must be the same, for what one of them does not name is neither there nor absent"
        )
    slides = {slide.path: slide for slide in project.store.slides()}
    tiles: dict[str, list[Tile]] = {}
    for tile in project.store.tiles().values():
        tiles.setdefault(tile.slide, []).append(tile)
    found, absent, cut, kept = TakenOver(), 0, 0, 0
    said: list[tuple[Tile, list[str]]] = []
    for row in table.rows:
        slide = slides.get((path.parent / row.image).resolve())
        if row.split != "train":
            kept += 1
        elif slide is None:
            absent += 1
        else:
            own = [tile for tile in tiles.get(slide.name, ()) if tile.side**2 >= SAME * slide.width * slide.height]
            cut += not own
            present = [name for name, there in zip(table.tissues, row.labels, strict=True) if there]
            said.extend((tile, present) for tile in own[:1])
    if absent and not said and not cut:
        raise DataError(f"none of the {absent} images of {path} is a slide of this project; name their folder, too")
    _say(project, said, path.name, found)
    for count, why in (
        (kept, "of val and test stay out, so that they are never trained on"),
        (absent, "are no slides of this project"),
        (cut, "have no tile that covers nine tenths of them (mostly glass, or larger than a tile)"),
    ):
        if count:
            found.notes.append(f"{path.name}: {count} of {len(table.rows)} images {why}")
    return found


def _from_regions(project: Project, source: Path) -> TakenOver:
    found, files = TakenOver(), 0
    for slide in project.store.slides():
        stem = slide_stem(slide.path)
        folder = source if source.is_dir() else source.parent
        file = find_beside(folder, stem, OUTLINES)
        if file is None or (source.is_file() and file.resolve() != source.resolve()):
            continue
        files += 1
        drawn = find_annotated(slide.path, project.settings.mpp, folder, project.tissues, slide.mpp)
        found.notes += [f"{slide.name}: {note}" for note in drawn.notes]
        left = [*drawn.cut_out, *drawn.silent]
        if left:
            found.notes.append(f"{file.name}: the classes {', '.join(str(name) for name in left)} are no tissue here")
        with drawn.regions[stem]() as region:
            assert isinstance(region, AnnotatedSlide)
            found.notes += [f"{slide.name}: {note}" for note in region.notes]
            own = [tile for tile in project.store.tiles().values() if tile.slide == slide.name]
            said = [(tile, present) for tile in own if (present := _drawn(project, tile, region)) is not None]
        _say(project, said, file.name, found)
        found.notes.append(f"{file.name}: {len(said)} of {len(own)} tiles of {slide.name} lie in drawn regions")
    if not files:
        raise DataError(f"{source} holds no annotations of a slide of this project; expected SLIDE.geojson")
    return found


def _drawn(project: Project, tile: Tile, region: AnnotatedSlide) -> list[str] | None:
    """The tissues that were drawn in a tile, or None where too much of it was not drawn."""
    size = project.settings.tile
    top, left = (np.array([round(place * size / tile.side)], np.intp) for place in (tile.y, tile.x))
    shares = region.counts(top, left, size)[0, 0] / size**2
    if shares.sum() < DRAWN:
        return None
    return [name for name, share in zip(project.tissues.names, shares.tolist(), strict=True) if share >= PRESENT]


def _say(project: Project, said: Iterable[tuple[Tile, list[str]]], source: str, found: TakenOver) -> None:
    standing = project.store.labels()
    rows = list(said)
    new = [(tile, present) for tile, present in rows if tile.id not in standing]
    project.store.take_over(WHO, [(tile.id, present) for tile, present in new], f"taken over from {source}")
    found.tiles += len(new)
    if len(rows) > len(new):
        found.notes.append(f"{source}: {len(rows) - len(new)} tiles have a label already and keep it")
