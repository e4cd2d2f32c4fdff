"""`comparison.html`: the table, the differences and every method beside the same images, in one file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from histoproto.compare.bootstrap import Difference
from histoproto.compare.charts import ChartRow, row_chart
from histoproto.compare.plan import Plan
from histoproto.compare.results import Column, RunResult
from histoproto.compare.table import Comparison, compare, difference_words, stages_words
from histoproto.data.images import read_image
from histoproto.data.layouts import DataFolder, Patch, open_data
from histoproto.errors import RunError
from histoproto.evaluation.patches import PatchResult, evaluate_patches
from histoproto.evaluation.protocols import Protocol
from histoproto.inference.segmenter import Segmenter
from histoproto.report.gallery import mask_picture, rank_patches, spread
from histoproto.report.page import render
from histoproto.report.pictures import ERROR_COLOURS, data_uri, error_picture, shrink

PAGE_FILE = "comparison.html"
EACH, CHOSEN_FROM = 3, 200
SIDE = 224
"""Longest side of a picture, in pixels."""
PARTS = {
    "Scores": ("miou", "mdice", "fwiou", "boundary_iou", "mislabelled", "map", "oracle_miou", "paper_miou"),
    "Tissues": ("iou ",),
    "Prototypes": ("coverage", "overlap", "effective", "purity"),
    "Cost": ("seconds", "processor_seconds", "parameters", "peak_memory_mib"),
}
"""The columns in tables narrow enough to be read; `iou ` stands for those of the tissues."""


@dataclass(frozen=True)
class Mask:
    """What a method made of an image: its row, its mIoU on it, mask and errors as `data:` addresses."""

    label: str
    score: float | None
    picture: str
    errors: str


@dataclass(frozen=True)
class Sight:
    """One image with its truth and the mask of each method."""

    rank: str
    name: str
    image: str
    truth: str
    masks: tuple[Mask, ...]


@dataclass(frozen=True)
class TableCell:
    """A cell of the page's tables: its text, and whether no row has a better mean, as far as is shown."""

    text: str
    best: bool


@dataclass(frozen=True)
class TablePart:
    """Some of the columns: their name, the columns, and label, seeds and cells of each row."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, int, tuple[TableCell, ...]], ...]


def write_page(plan: Plan, out: Path, pictures: bool = True) -> Path:
    """Write `comparison.html` from the run folders.

    Args:
        plan: of the comparison.
        out: its folder.
        pictures: show the methods at work; takes a while and needs the data folder.

    Raises:
        RunError: no run is finished.
        DataError, OutputError: the data folder cannot be read, the page cannot be written.
    """
    found = compare(plan, out)
    if not found.results:
        raise RunError(f"{out} has no finished run to show yet")
    data = open_data(plan.data) if pictures else None
    shown = first_runs(found.results)
    return render(
        out / PAGE_FILE,
        "comparison.html.j2",
        title=f"Comparison on {plan.data.name}",
        found=found,
        stages=stages_words(found),
        parts=table_parts(found),
        scores=row_chart(score_rows(found), "mIoU of every run in %, protocol honest; the line is their mean"),
        forest=forest_chart(found.differences),
        differences=[(one, *difference_words(one)) for one in found.differences],
        tissues=data.tissues.tissues if data else (),
        errors={name: "rgb({}, {}, {})".format(*colour) for name, colour in ERROR_COLOURS.items()},
        sights=see(shown, plan.reference, data) if data else [],
        seeds=sorted({result.seed for result in shown}),
        chosen=f"{CHOSEN_FROM} evenly spaced ones of the" if data and len(data.test) > CHOSEN_FROM else "the",
    )


def table_parts(found: Comparison) -> list[TablePart]:
    """The table in parts; parts without a column are left out."""
    parts = []
    for name, keys in PARTS.items():
        places = [i for i, column in enumerate(found.columns) if column.key.startswith(keys)]
        if not places:
            continue
        best = {i: _best(found.columns[i], [row.cells[i].shown for row in found.rows]) for i in places}
        rows = tuple(
            (
                row.label,
                row.seeds,
                tuple(TableCell(str(row.cells[i]), row.cells[i].shown == best[i]) for i in places),
            )
            for row in found.rows
        )
        parts.append(TablePart(name, tuple(found.columns[i] for i in places), rows))
    return parts


def _best(column: Column, means: Sequence[float]) -> float:
    known = [mean for mean in means if not math.isnan(mean)]
    if len(known) < 2 or not column.better:
        return math.nan
    return max(known, key=lambda mean: column.better * mean)


def score_rows(found: Comparison) -> list[ChartRow]:
    """mIoU of every run, by row."""
    rows = []
    for row in found.rows:
        own = tuple(100 * r.values["miou"] for r in found.results if r.variant.label == row.label)
        if own:
            style = "reference" if row.label == found.plan.reference else ""
            rows.append(ChartRow(row.label, own, sum(own) / len(own), style=style))
    return rows


def forest_chart(found: Sequence[Difference]) -> str:
    """Differences to the reference with their intervals; nothing where there are none."""
    rows = [
        ChartRow(one.label, (100 * one.estimate,), None, (100 * one.interval[0], 100 * one.interval[1]), one.verdict)
        for one in found
    ]
    name = f"mIoU in points above {found[0].reference}, with 95 % intervals" if found else ""
    return row_chart(rows, name, zero=True) if rows else ""


def first_runs(results: Sequence[RunResult]) -> list[RunResult]:
    """The run with the lowest seed of each row."""
    first: dict[str, RunResult] = {}
    for result in results:
        first.setdefault(result.variant.label, result)
    return list(first.values())


def see(runs: Sequence[RunResult], reference: str, data: DataFolder, each: int = EACH) -> list[Sight]:
    """Every method beside the same patches: best, median and worst of the reference, or of the first run without it.

    Args:
        runs: one per row.
        reference: label of the row whose scores choose the patches.
        data: with masks for its test patches.
        each: patches per rank.
    """
    judge = next((run for run in runs if run.variant.label == reference), runs[0])
    segmenter, settings = Segmenter.load(judge.folder, "cpu"), Protocol()
    patches = spread(data.split("test"), CHOSEN_FROM)
    ranked = rank_patches(segmenter, patches, data.tissues, each, settings.settings(segmenter.card.inference))
    chosen = [patch for _, patch in ranked]
    columns = [_segment(run, chosen, data) for run in runs]
    return [_sight(rank, runs, [column[i] for column in columns]) for i, (rank, _) in enumerate(ranked)]


def _segment(run: RunResult, patches: Sequence[Patch], data: DataFolder) -> list[PatchResult]:
    segmenter = Segmenter.load(run.folder, "cpu")
    settings = Protocol().settings(segmenter.card.inference)
    return list(evaluate_patches(segmenter, patches, data.tissues, settings))


def _sight(rank: str, runs: Sequence[RunResult], results: Sequence[PatchResult]) -> Sight:
    first = results[0]
    masks = []
    for run, result in zip(runs, results, strict=True):
        score, tissues = result.scores().miou, result.segmentation.tissues
        labels = result.segmentation.labels
        errors = error_picture(labels, result.truth, len(tissues))
        masks.append(
            Mask(
                run.variant.label,
                None if math.isnan(score) else score,
                mask_picture(labels, tissues, SIDE),
                data_uri(shrink(errors, SIDE, exact=True), exact=True),
            )
        )
    return Sight(
        rank,
        first.patch.image.name,
        data_uri(shrink(read_image(first.patch.image), SIDE)),
        mask_picture(first.truth, first.segmentation.tissues, SIDE),
        tuple(masks),
    )
