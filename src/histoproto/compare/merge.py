"""Several data sets in one table: comparisons of the same rows on different data, and the average over the data sets.

    python -m histoproto.compare.merge OUT1 OUT2 … --to FILE.md [--reference LABEL]

Rows that not every comparison has (or has no common seed of) are left out of the averages.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoproto.compare.bootstrap import DRAWS, Difference
from histoproto.compare.plan import read_plan
from histoproto.compare.results import COLUMNS, Column, RunResult
from histoproto.compare.table import Cell, Comparison, compare, difference_words, markdown_table, mean_and_spread
from histoproto.documents.markdown import plain
from histoproto.errors import HistoProtoError, RunError
from histoproto.files import replace_atomically


@dataclass(frozen=True)
class Merged:
    """Several comparisons side by side.

    Attributes:
        names: of the data sets.
        labels: rows that all comparisons have finished runs of, in the order of the first.
        scores: mIoU by label: a cell per data set, and last that of the average over data sets.
        columns: figures that are averaged over data sets; those of single tissues are not.
        averages: by label, a cell per column.
        differences: of the average mIoU to the reference, with draws of regions in each data set.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    scores: dict[str, tuple[Cell, ...]]
    columns: tuple[Column, ...]
    averages: dict[str, tuple[Cell, ...]]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def merge(folders: Sequence[Path], reference: str = "lpd") -> Merged:
    """Bring comparisons together. Seeds are averaged over the data sets first, so that ± is that of the average.

    Raises:
        RunError: no folders, one that holds no comparison, or no row that all have.
    """
    found = [_of(folder, reference) for folder in folders]
    by_row = [_by_row(comparison) for comparison in found]
    labels = [label for label in by_row[0] if all(label in rows for rows in by_row)] if by_row else []
    if not labels:
        raise RunError(
            f"{', '.join(map(str, folders)) or 'nothing'}: there is no row with finished runs in all of them"
        )
    runs = {label: [rows[label] for rows in by_row] for label in labels}
    columns = [c for c in COLUMNS if any(not np.isnan(_average(c, runs[label])).all() for label in labels)]
    scores = {
        label: tuple(
            mean_and_spread(COLUMNS[0], values)
            for values in (*(_values(COLUMNS[0], rows) for rows in runs[label]), _average(COLUMNS[0], runs[label]))
        )
        for label in labels
    }
    return Merged(
        names=tuple(comparison.plan.data.name for comparison in found),
        labels=tuple(labels),
        scores=scores,
        columns=tuple(columns),
        averages={
            label: tuple(mean_and_spread(column, _average(column, runs[label])) for column in columns)
            for label in labels
        },
        differences=tuple(_differences(found, labels)),
        notes=tuple(f"{c.plan.data.name}: {note}" for c in found for note in c.notes),
    )


def _of(folder: Path, reference: str) -> Comparison:
    plan = read_plan(folder)
    if reference in (row.label for row in plan.variants):
        plan = replace(plan, reference=reference)
    return compare(plan, folder)


def _by_row(comparison: Comparison) -> dict[str, dict[int, RunResult]]:
    rows: dict[str, dict[int, RunResult]] = {}
    for result in comparison.results:
        rows.setdefault(result.variant.label, {})[result.seed] = result
    return rows


def _values(column: Column, runs: dict[int, RunResult]) -> list[float]:
    return [run.values.get(column.key, math.nan) for run in runs.values()]


def _average(column: Column, by_data: Sequence[dict[int, RunResult]]) -> list[float]:
    """The figure of each seed that all data sets have, averaged over them; NaN where one lacks it."""
    seeds = sorted(set.intersection(*(set(runs) for runs in by_data)))
    figures = [[runs[seed].values.get(column.key, math.nan) for runs in by_data] for seed in seeds]
    return [float(np.mean(each)) for each in figures]


def _differences(found: Sequence[Comparison], labels: Sequence[str]) -> list[Difference]:
    """Differences of the averages: regions are drawn in each data set, independently of the others."""
    merged = []
    for label in labels:
        own = [one for comparison in found for one in comparison.differences if one.label == label]
        if len(own) == len(found) and len({one.reference for one in own}) == 1:
            merged.append(
                replace(
                    own[0],
                    seeds=tuple(sorted(set.intersection(*(set(one.seeds) for one in own)))),
                    regions=sum(one.regions for one in own),
                    estimate=float(np.mean([one.estimate for one in own])),
                    draws=np.mean([_shuffled(one.draws, seed) for seed, one in enumerate(own)], axis=0),
                )
            )
    return merged


def _shuffled(draws: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """In another order for each data set (the same for all methods): as many regions would give the same draws."""
    return np.random.default_rng(seed).permutation(draws)


def merged_markdown(merged: Merged) -> str:
    """As Markdown: mIoU on each data set and their average, the other averages, the differences."""
    names = plain(", ".join(merged.names))
    parts = [
        "# Comparison over data sets",
        f"Protocol **honest**: predicted labels, background ignored, one view, no CRF. mIoU in %, mean ± standard "
        f"deviation over seeds; *average*: over the data sets ({names}), for each seed, before mean and deviation.",
        *(f"**{plain(note)}**" for note in merged.notes),
        markdown_table(
            ["method", *merged.names, "average"],
            [[label, *map(str, merged.scores[label])] for label in merged.labels],
        ),
        "Averages over the data sets:",
        markdown_table(
            ["method", *(column.heading for column in merged.columns)],
            [[label, *map(str, merged.averages[label])] for label in merged.labels],
        ),
    ]
    if merged.differences:
        first = merged.differences[0]
        parts += [
            f"Differences of the average mIoU to {plain(first.reference)} in points, same seeds; 95 % interval of "
            f"{DRAWS} bootstrap draws of regions in each data set ({first.regions} regions in all):",
            markdown_table(
                ["method", "difference", "95 % interval", ""],
                [[d.label, *difference_words(d), d.verdict] for d in merged.differences],
            ),
        ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """The command line; a mistake ends in one sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="OUT")
    parser.add_argument("--to", type=Path, required=True, metavar="FILE.md")
    parser.add_argument("--reference", default="lpd", metavar="LABEL")
    arguments = parser.parse_args()
    try:
        text = merged_markdown(merge(arguments.folders, arguments.reference))
        with replace_atomically(arguments.to) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except HistoProtoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(text, end="")


if __name__ == "__main__":
    main()
