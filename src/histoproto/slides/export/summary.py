"""All slides of a folder on one page, and in one table."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from histoproto.data.images import natural_key
from histoproto.documents.shapes import read_json_as
from histoproto.documents.tables import write_table
from histoproto.errors import DocumentError
from histoproto.files import replace_atomically
from histoproto.ledger import Ledger, own
from histoproto.report.page import render
from histoproto.slides.export.areas import BACKGROUND
from histoproto.slides.export.finished import AREAS_FILE, RECORD_FILE, is_set_aside, read_finished
from histoproto.slides.export.overview import THUMBNAIL_FILE, area_text
from histoproto.slides.measures.table import MEASURES_FILE, read_measures
from histoproto.tissue import UNCERTAIN, UNCERTAIN_COLOUR

OVERVIEW_FILE = "overview.png"
SUMMARY_TABLE, SUMMARY_PAGE = "summary.csv", "summary.html"
LAST = (f"{BACKGROUND} mm2", "doubtful %", "strange %", "seconds", "tiles")
"""Columns after those of the tissues; doubtful and strange are shares of all tissue."""
_FAILED = ".failed.json"
_LEFT_OUT = ("mean", "q25", "q75")
"""Of the sizes of regions; the median and the largest tell enough in a wide table."""


class Failure(NamedTuple):
    """A slide that could not be segmented, and why, in a sentence."""

    name: str
    path: Path | None
    """None: not known."""
    sentence: str


class _FailureFile(BaseModel):
    path: str
    sentence: str


@dataclass(frozen=True)
class _Slide:
    """A row of the summary."""

    name: str
    path: str
    mm2: dict[str, float] = field(default_factory=dict)
    """By tissue; background too."""
    percent: dict[str, float] = field(default_factory=dict)
    """By tissue; a tissue without a share is left out."""
    measures: dict[str, float] = field(default_factory=dict)
    """Of the whole slide, by what was measured and its unit; NaN where it is not defined."""
    seconds: float | None = None
    tiles: int | None = None
    doubtful: float | None = None
    """Per cent of its tissue; None: not known."""
    strange: float | None = None
    """Per cent of its tissue that is unlike the training patches."""
    doubtful_by: dict[str, float] = field(default_factory=dict)
    """By tissue, per cent."""
    sentences: tuple[str, ...] = ()
    """On how far its map can be trusted."""
    picture: str = ""
    """As the `src` of an `<img>`."""
    sentence: str = ""
    """Why it failed."""
    notes: tuple[str, ...] = ()
    """What was chosen, assumed or left out."""

    @property
    def state(self) -> str:
        return "failed" if self.sentence else "done"

    @property
    def tissue_mm2(self) -> float:
        return sum(area for tissue, area in self.mm2.items() if tissue != BACKGROUND)


def has_failed(out: Path, name: str) -> bool:
    """Whether a slide failed when it was last tried."""
    return (out / f"{name}{_FAILED}").exists()


def write_summary(out: Path, failed: Iterable[Failure] = (), left_out: Sequence[str] = ()) -> list[str]:
    """Write `summary.csv` and `summary.html` anew from the folders of finished slides, those with a `record.json`.

    May be called by several processes at once: each writes whole files from what is there. Failures are kept in files
    of their own, `NAME.failed.json`, until the slide is done or the file is deleted.

    Args:
        out: folder of the folders of slides.
        failed: slides that failed just now.
        left_out: sentences on what was found beside the slides and not taken.

    Returns:
        Sentences on earlier results that are damaged; table and page have them, too.

    Raises:
        OutputError: the folder cannot be written.
    """
    for failure in failed:
        path = out / f"{failure.name}{_FAILED}"
        with own(path), replace_atomically(path) as temporary:
            content = {"path": str(failure.path), "sentence": failure.sentence}
            temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    slides, colours, damaged = _finished(out)
    slides += _failures(out, {slide.name for slide in slides})
    slides.sort(key=lambda slide: natural_key(slide.name))
    _write_table(out / SUMMARY_TABLE, slides, list(colours))
    done = [slide for slide in slides if slide.state == "done"]
    render(
        out / SUMMARY_PAGE,
        "slides.html.j2",
        title=out.resolve().name,
        tissues=[{"name": name, "colour": colour} for name, colour in colours.items()],
        slides=slides,
        measures=_measures(slides),
        done=len(done),
        left_out=left_out,
        failed=[slide for slide in slides if slide.state == "failed"],
        tissue=area_text(sum(slide.tissue_mm2 for slide in done if not math.isnan(slide.tissue_mm2))),
        hours=sum(slide.seconds or 0 for slide in done) / 3600,
        overview=OVERVIEW_FILE,
        area_text=lambda mm2: "–" if math.isnan(mm2) else area_text(mm2),
    )
    return damaged


def _finished(out: Path) -> tuple[list[_Slide], dict[str, str], list[str]]:
    """The finished slides, the colours of all their tissues by name, and sentences on what is damaged."""
    slides: list[_Slide] = []
    damaged: list[str] = []
    colours: dict[str, str] = {}
    for path in out.glob(f"*/{RECORD_FILE}"):
        folder = path.parent
        if folder.name.startswith(".") or is_set_aside(folder):
            continue
        try:
            record, areas = read_finished(folder)
        except DocumentError as error:
            if (folder / AREAS_FILE).exists():  # else not of a slide, or removed just now
                slides.append(_Slide(folder.name, "", sentence=f"its results are damaged ({error}); segment it again"))
                damaged.append(f"{folder.name}: {slides[-1].sentence}")
            continue
        measures, damage = _measured(folder / MEASURES_FILE, record.name or folder.name)
        damaged += [f"{folder.name}: {sentence}" for sentence in damage]
        colours |= {tissue.name: tissue.colour for tissue in record.tissues}
        if any(row.tissue == UNCERTAIN for row in areas):
            colours[UNCERTAIN] = UNCERTAIN_COLOUR
        slides.append(
            _Slide(
                folder.name,
                record.slide,
                {row.tissue: row.mm2 for row in areas},
                {row.tissue: row.percent for row in areas if not math.isnan(row.percent)},
                measures,
                record.seconds,
                record.windows,
                record.trust.doubtful,
                record.trust.strange,
                {row.tissue: row.doubtful for row in areas if not math.isnan(row.doubtful)},
                (*record.trust.sentences, *damage),
                _data_uri(folder / THUMBNAIL_FILE),
                notes=tuple(record.notes),
            )
        )
    return slides, colours, damaged


def _measured(path: Path, name: str) -> tuple[dict[str, float], tuple[str, ...]]:
    """What was measured of a slide, and a sentence if that cannot be read or is of others."""
    if not path.exists():  # of an earlier version
        return {}, ()
    try:
        found = read_measures(path, regions=False)
        rows = found.get(name, [])
        if found and (set(found) != {name} or len({row.title for row in rows}) < len(rows)):
            raise DocumentError(f"{path} does not hold the measures of {name} alone, each once")
    except DocumentError as error:
        return {}, (f"nothing measured is shown: {error}; `histoproto measure` measures the map again",)
    return {row.title: row.value for row in rows if row.measure not in _LEFT_OUT}, ()


def _measures(slides: list[_Slide]) -> list[str]:
    """What was measured of any slide, each once."""
    return list(dict.fromkeys(title for slide in slides for title in slide.measures))


def read_failures(out: Path) -> list[Failure]:
    """The slides that failed when they were last tried, by the files that tell of them.

    A slide that another process has done since may still be among them.
    """
    found = []
    for path in sorted(out.glob(f"*{_FAILED}")):
        name = path.name.removesuffix(_FAILED)
        try:
            content = read_json_as(path, _FailureFile)
        except DocumentError as error:
            if path.exists():  # else another process has removed it
                found.append(Failure(name, None, f"it is not known why: {error}"))
            continue
        found.append(Failure(name, Path(content.path), content.sentence))
    return found


def _failures(out: Path, finished: set[str]) -> list[_Slide]:
    """The slides that failed and are still not finished; files of the others are removed."""
    slides, ledger = [], Ledger(out)
    for failure in read_failures(out):
        if failure.name not in finished:
            slides.append(_Slide(failure.name, str(failure.path or ""), sentence=failure.sentence))
        elif ledger.is_own(path := out / f"{failure.name}{_FAILED}"):
            with suppress(OSError):
                path.unlink()
    return slides


def _write_table(path: Path, slides: list[_Slide], tissues: list[str]) -> None:
    areas = [f"{tissue} {unit}" for tissue in tissues for unit in ("mm2", "%", "doubtful %")]
    measures, rows = _measures(slides), []
    for slide in slides:
        cells: list[str] = []
        for tissue in tissues:
            cells += [_cell(slide.mm2.get(tissue), 6), _cell(slide.percent.get(tissue), 3)]
            cells += [_cell(slide.doubtful_by.get(tissue), 2)]
        cells += [_cell(slide.mm2.get(BACKGROUND), 6), _cell(slide.doubtful, 2), _cell(slide.strange, 2)]
        cells += [_cell(slide.seconds, 1), _cell(slide.tiles, 0)]
        cells += [_cell(slide.measures.get(title), 6) for title in measures]
        rows.append([slide.name, slide.path, slide.state, *cells, "; ".join(slide.sentences), slide.sentence])
    with own(path):
        write_table(path, ["name", "path", "state", *areas, *LAST, *measures, "note", "error"], rows)


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _data_uri(path: Path) -> str:
    """Nothing for a picture that is not there."""
    if not path.is_file():
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"
