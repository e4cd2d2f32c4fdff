"""Tiles of slides for a person to label: pictures, and a table with one empty column per tissue."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from histoproto.data.cut_record import CutSettings
from histoproto.data.grid import grid_offsets
from histoproto.data.images import write_image
from histoproto.data.names import patch_name
from histoproto.data.staging import refuse_if_filled, staged_folder
from histoproto.documents.ranges import in_range
from histoproto.documents.tables import write_table
from histoproto.errors import DataError
from histoproto.slides.labelling.scope import find_scope
from histoproto.slides.many.tasks import name_slides
from histoproto.slides.reading.opening import open_slide, require_mpp
from histoproto.slides.reading.protocol import SlideReader
from histoproto.slides.task import SlideTask
from histoproto.tissue import TissueSet
from histoproto.words import counted

SAMPLES = 16
"""Points along the side of a tile at which it is asked for tissue."""


@dataclass(frozen=True)
class TileSettings:
    """How tiles are cut.

    Attributes:
        mpp: µm/px of the tiles.
        size: side in pixels.
        stride: step between tiles; None: `size`.
        tissue: least fraction of a tile that is tissue, not glass.
        per_slide: how many of a slide, drawn at random; None: all.
        seed: the same seed draws the same tiles.
    """

    mpp: float
    size: int = 224
    stride: int | None = None
    tissue: float = 0.5
    per_slide: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        CutSettings(self.size, self.stride, None, self.tissue, self.mpp, self.mpp)  # the same ranges
        in_range(self.per_slide, 1, 1e9, "the number of tiles per slide")


def cut_tiles(
    tasks: Sequence[SlideTask],
    out: Path,
    tissues: TissueSet,
    settings: TileSettings,
    progress: Callable[[int, int], None] | None = None,
    notes: list[str] | None = None,
) -> dict[str, int]:
    """Cut tiles with tissue into OUT/tiles/SLIDE+INDEX.png and list them in OUT/labels.csv.

    Filled in with 0 and 1, the folder is one to train on (layout `table`): the tiles of a slide are a group. INDEX
    counts the places of the slide's grid row by row, also those left out.

    Args:
        tasks: the slides.
        out: a new or empty folder, for a table that somebody has filled in is never overwritten.
        tissues: what can be ticked.
        settings: scale, size and number of tiles.
        progress: called with slides done and slides in all.
        notes: to which sentences are added on what was chosen or assumed of slides.

    Returns:
        The number of tiles of each slide, by name.

    Raises:
        DataError: a slide of unknown µm/px, or no slide has tissue.
        ImageError: a slide cannot be read.
        OutputError: the folder is not empty or cannot be written.
    """
    refuse_if_filled(out)
    counts: dict[str, int] = {}
    with staged_folder(out) as part:
        rows: list[list[str]] = []
        for name, task in name_slides(tasks).items():
            with open_slide(task.path, task.mpp, task.image) as reader:
                mpp = require_mpp(reader, "--slide-mpp", wanted=settings.mpp)
                downsample = settings.mpp / mpp
                places = tile_places(reader, mpp, settings, task.regions)
                if notes is not None:
                    notes += (f"{name}: {note}" for note in reader.notes)
                for index, top, left in places:
                    tile = Path("tiles", patch_name(name, index))
                    corner = left * downsample, top * downsample
                    write_image(part / tile, reader.read(*corner, settings.size, settings.size, downsample))
                    rows.append([tile.as_posix(), *[""] * len(tissues), name])
            counts[name] = len(places)
            if progress:
                progress(len(counts), len(tasks))
        write_table(part / "labels.csv", ["image", *tissues.names, "group"], rows)
        if not any(counts.values()):
            raise DataError(f"none of {counted(len(counts), 'slide')} has a tile with {settings.tissue:.0%} of tissue")
        tissues.write(part / "classes.yaml")
        record = {"train": {**asdict(settings), "region_mpp": settings.mpp}}
        (part / "cut.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return counts


def tile_places(
    reader: SlideReader, mpp: float, settings: TileSettings, regions: Path | None
) -> list[tuple[int, int, int]]:
    """Index in the grid, top and left of the chosen tiles of a slide, in pixels of the tiles' scale."""
    size = settings.size
    downsample = settings.mpp / mpp
    lengths = (round(side / downsample) for side in (reader.height, reader.width))
    tops, lefts = (grid_offsets(length, size, settings.stride or size) for length in lengths)
    scope = find_scope(reader, mpp, regions)
    reader.notes += scope.notes
    edges = [downsample * edge.astype(np.float64) for starts in (tops, lefts) for edge in (starts, starts + size)]
    step = size / SAMPLES * downsample
    touched = scope.touched(*edges)
    shares = scope.shares(edges[0], edges[2], touched, SAMPLES, step)
    chosen = [
        (int(index), int(tops[index // lefts.size]), int(lefts[index % lefts.size]))
        for index in np.flatnonzero(touched & (shares >= settings.tissue))
    ]
    if settings.per_slide is None or len(chosen) <= settings.per_slide:
        return chosen
    drawn = np.random.default_rng(settings.seed).choice(len(chosen), settings.per_slide, replace=False)
    return [chosen[index] for index in np.sort(drawn)]
