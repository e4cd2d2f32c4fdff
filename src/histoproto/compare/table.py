"""The table: one row per run as CSV, one row per method as Markdown, mean ± standard deviation over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from histoproto.compare.bootstrap import DRAWS, Difference, differences
from histoproto.compare.folds import read_results
from histoproto.compare.plan import Plan
from histoproto.compare.results import Column, RunResult, columns_of, unlike
from histoproto.documents.markdown import plain
from histoproto.documents.tables import write_table as write_csv
from histoproto.files import replace_atomically
from histoproto.ledger import own

FEW_REGIONS = 10
CSV_FILE, MARKDOWN_FILE = "comparison.csv", "comparison.md"


@dataclass(frozen=True)
class Cell:
    """Mean and standard deviation over seeds, in the units of the column; NaN: no figure, or one seed alone."""

    mean: float
    spread: float
    decimals: int

    @property
    def shown(self) -> float:
        """The mean with the decimals that are shown."""
        return round(self.mean, self.decimals)

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        spread = "" if math.isnan(self.spread) else f" ± {self.spread:.{self.decimals}f}"
        return f"{self.mean:.{self.decimals}f}{spread}"


@dataclass(frozen=True)
class Row:
    """A method: its label, the number of finished seeds, and a cell per column."""

    label: str
    seeds: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Comparison:
    """All that the table and the page show."""

    plan: Plan
    results: tuple[RunResult, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    """What a reader must know: unlike settings, missing runs."""

    @property
    def protocol(self) -> str:
        """The protocol of the scores, in words."""
        return "; or ".join(sorted({result.protocol for result in self.results}))


def compare(plan: Plan, out: Path) -> Comparison:
    """What the finished runs of a comparison say, whatever is missing."""
    results = read_results(plan, out)
    columns = columns_of(results)
    notes = unlike(results)
    missing = len(plan.variants) * plan.seeds - len(results)
    if missing:
        notes.append(f"{missing} of {len(plan.variants) * plan.seeds} runs are not finished; see the column 'seeds'.")
    rows = []
    for variant in plan.variants:
        own = [result for result in results if result.variant == variant]
        rows.append(Row(variant.label, len(own), tuple(cell(column, own) for column in columns)))
    found = differences(results, plan.reference)
    if found and found[0].regions < FEW_REGIONS:
        notes.append(f"There are only {found[0].regions} test regions: intervals from so few are too narrow.")
    return Comparison(plan, tuple(results), tuple(columns), tuple(rows), tuple(found), tuple(notes))


def cell(column: Column, results: Sequence[RunResult]) -> Cell:
    """Mean and standard deviation (n − 1) of a figure over runs."""
    return mean_and_spread(column, [result.values.get(column.key, math.nan) for result in results])


def mean_and_spread(column: Column, figures: Sequence[float]) -> Cell:
    """A cell from figures as they were measured; NaN is left out."""
    values = np.array(figures) * column.factor
    values = values[~np.isnan(values)]
    mean = float(values.mean()) if values.size else math.nan
    return Cell(mean, float(values.std(ddof=1)) if values.size > 1 else math.nan, column.decimals)


def write_table(plan: Plan, out: Path) -> Comparison:
    """Write comparison.csv and comparison.md from the run folders."""
    found = compare(plan, out)
    with own(out / MARKDOWN_FILE), replace_atomically(out / MARKDOWN_FILE) as temporary:
        temporary.write_text(markdown(found), encoding="utf-8")
    keys = [column.key for column in found.columns]
    alike = list(found.results[0].alike) if found.results else []
    rows = [
        [
            *(result.variant.label, result.seed, result.folder.relative_to(out)),
            *(
                "" if math.isnan(figure) else f"{figure:.6g}"
                for figure in (result.values.get(k, math.nan) for k in keys)
            ),
            *(result.alike[key] for key in alike),
            " ".join(result.variant.settings),
        ]
        for result in found.results
    ]
    with own(out / CSV_FILE):
        write_csv(out / CSV_FILE, ["method", "seed", "run", *keys, *alike, "settings"], rows)
    return found


def markdown(found: Comparison) -> str:
    """The comparison as Markdown, the protocol above the table."""
    if not found.results:
        return f"# Comparison on {plain(found.plan.data.name)}\n\nNo run is finished yet.\n"
    seeds = f"mean ± standard deviation over up to {found.plan.seeds} seeds" if found.plan.seeds > 1 else "one seed"
    parts = [
        f"# Comparison on {plain(found.plan.data.name)}",
        f"Protocol **honest**: {plain(found.protocol)}. {seeds.capitalize()}; scores in %. "
        f"{plain(stages_words(found))}".rstrip(),
        *(f"**{plain(note)}**" for note in found.notes),
        markdown_table(
            ["method", "seeds", *(column.heading for column in found.columns)],
            [[row.label, str(row.seeds), *map(str, row.cells)] for row in found.rows],
        ),
        "\n".join(f"- *{plain(column.heading)}*: {column.meaning}" for column in found.columns if column.meaning),
    ]
    if found.differences:
        parts += [
            f"## Differences to {plain(found.plan.reference)}",
            f"mIoU in points, protocol honest, mean over seeds, each against the same seed; 95 % interval of {DRAWS} "
            f"bootstrap draws over {found.differences[0].regions} regions (other regions, not other seeds).",
            markdown_table(
                ["method", "seeds", "difference", "95 % interval", ""],
                [[d.label, str(len(d.seeds)), *difference_words(d), d.verdict] for d in found.differences],
            ),
        ]
    return "\n\n".join(parts) + "\n"


def stages_words(found: Comparison) -> str:
    """Which rows have two stages, and what that means; nothing where none has."""
    rows = dict.fromkeys(result.variant.label for result in found.results if result.two_stages)
    if not rows:
        return ""
    return (
        f" Two stages, the second a segmentation network trained on the masks of the first: {', '.join(rows)}; their "
        "prototypes are those of the first stage, their costs those of both."
    )


def difference_words(difference: Difference) -> tuple[str, str]:
    """A difference and its interval in points.

    >>> difference_words(Difference("a", "b", (0,), 3, 0.021, np.array([0.01, 0.01])))
    ('+2.1', '+1.0 … +1.0')
    """
    low, high = difference.interval
    return f"{100 * difference.estimate:+.1f}", f"{100 * low:+.1f} … {100 * high:+.1f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells as a table in Markdown, each shown as it is."""
    lines = [map(plain, header), ["---"] * len(header), *(map(plain, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
