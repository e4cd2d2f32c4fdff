"""What maps of all slides say: areas and shares as `segment` wrote them, slide by slide as they are finished."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from histoproto.data.images import natural_key
from histoproto.errors import DataError, HistoProtoError, sentence
from histoproto.slides.export.areas import BACKGROUND, share_of_tissue
from histoproto.slides.export.finished import AREAS_FILE, RECORD_FILE, is_set_aside, read_finished
from histoproto.slides.export.summary import OVERVIEW_FILE, SUMMARY_PAGE, SUMMARY_TABLE, read_failures
from histoproto.slides.measures.table import MEASURES_FILE, read_measures
from histoproto.studio.commands import maps_folder
from histoproto.studio.project import Project

FILES = ("tissue.geojson", "tissue.ome.tif", AREAS_FILE, MEASURES_FILE, OVERVIEW_FILE)
"""Of a slide, that can be taken home."""
SUMMARIES = (SUMMARY_TABLE, SUMMARY_PAGE)
"""Of all slides."""
SHARES = ("TSR", "TILs")
"""Of what was measured, that the page shows."""


@dataclass(frozen=True)
class Mapped:
    """What the map of a slide says.

    Attributes:
        name: of the slide.
        mm2, percent: area of each tissue, and its share of all tissue, 0 … 100; None where it is not known.
        doubtful: share of all tissue, 0 … 100, whose tissue is doubtful; None where it is not known.
        shares: tumour-stroma ratio and the like, in %, where the tissues are named so; None: of nothing.
        files: names of those that can be taken home.
        sentences: on how far it can be trusted, or what was chosen.
        problem: why there is no map, in a sentence.
    """

    name: str
    mm2: dict[str, float | None] = field(default_factory=dict)
    percent: dict[str, float | None] = field(default_factory=dict)
    doubtful: float | None = None
    shares: dict[str, float | None] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    problem: str = ""


def results(project: Project) -> dict[str, Any] | None:
    """Of the last round with which slides were mapped: its number, its slides that are mapped so far or failed, how
    many slides there are to map, and which files tell of all of them; None before there are any maps.
    """
    if not (mapped := _mapped_rounds(project)):
        return None
    number = mapped[-1]
    out = maps_folder(project, number)
    slides = [_read(folder, (folder / RECORD_FILE).stat().st_mtime_ns) for folder in _finished(out)]
    done = {slide.name for slide in slides}
    slides += [Mapped(name, problem=why) for name, _, why in read_failures(out) if name not in done]
    return {
        "round": number,
        "of": sum(slide.path.exists() for slide in project.store.slides()),
        "slides": [vars(slide) for slide in sorted(slides, key=lambda slide: natural_key(slide.name))],
        "files": [name for name in SUMMARIES if (out / name).is_file()],
    }


def result_file(project: Project, number: int, slide: str, name: str) -> Path:
    """A file that maps of a round wrote.

    Args:
        project: which.
        number: of the round.
        slide: its name; "": of all slides.
        name: of the file.

    Raises:
        DataError: there is none.
    """
    out = maps_folder(project, number)
    folders = {"": out} | {folder.name: folder for folder in _finished(out)}  # whatever is asked for, nothing beyond
    if slide in folders and name in (FILES if slide else SUMMARIES) and (path := folders[slide] / name).is_file():
        return path
    raise DataError(f"there is no {name} of {slide or 'all slides'} in the maps of round {number}")


def _mapped_rounds(project: Project) -> list[int]:
    folders = (project.folder / "maps").glob("[0-9]*")
    return sorted(int(folder.name) for folder in folders if folder.name.isdecimal() and folder.is_dir())


def _finished(out: Path) -> list[Path]:
    """The folders of the slides that are finished."""
    folders = (path.parent for path in out.glob(f"*/{RECORD_FILE}"))
    return [folder for folder in folders if not folder.name.startswith(".") and not is_set_aside(folder)]


@lru_cache(maxsize=4096)  # the page asks for all of them every other second
def _read(folder: Path, _changed: int) -> Mapped:
    files = tuple(name for name in FILES if (folder / name).is_file())
    try:
        record, areas = read_finished(folder)
        measured = read_measures(folder / MEASURES_FILE, regions=False).values() if MEASURES_FILE in files else ()
    except HistoProtoError as error:
        return Mapped(folder.name, files=files, problem=f"its results are damaged: {sentence(error)}")
    rows = [row for row in areas if row.tissue != BACKGROUND]
    return Mapped(
        folder.name,
        {row.tissue: _known(row.mm2) for row in rows},
        {row.tissue: _known(row.percent) for row in rows},
        _known(share_of_tissue(areas, "doubtful")),
        {row.measure: _known(row.value) for found in measured for row in found if row.measure in SHARES},
        files,
        (*record.trust.sentences, *record.notes),
    )


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number
