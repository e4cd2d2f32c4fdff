"""How much the choices matter: mIoU over lambda_div, K, T and the number of labelled patches; prototypes over K.

    python benchmarks/sensitivity.py DATA --out DIR [--seeds 1] [--jobs 1] [--only NAME …] [--set KEY=VALUE …]

DATA has `train` (with masks, for `supervised`) and `test`. A finished run is never repeated, a stopped one is resumed,
and `--plot-only` draws what is there. All points of a plot share the settings of the method, but for what the axis
says; with fewer patches there are as many more epochs, so that the number of steps stays the same.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from histoproto.compare.plan import Plan, Variant, read_plan
from histoproto.compare.results import RunResult
from histoproto.compare.session import complete
from histoproto.compare.table import write_table
from histoproto.config import load_settings

COLOURS = {"lpd": "#2f6db5", "cam": "#c77c11", "supervised": "#4a4f57", "pbip": "#b3372f"}
MEASURES = (
    ("coverage", "coverage of the tissue's region"),
    ("effective", "effective number of prototypes"),
    ("overlap", "overlap of two prototypes (IoU)"),
)


@dataclass(frozen=True)
class Line:
    """One curve: a method over the values of an axis, a row of the comparison for each."""

    method: str
    values: tuple[float, ...]
    rows: tuple[Variant, ...]


@dataclass(frozen=True)
class Axis:
    """What is varied: the name on the axis, the default, and a curve per method."""

    title: str
    default: float
    lines: tuple[Line, ...]
    logarithmic: bool = False


COUNTS = (1, 3, 5, 10, 20)
PARTS = (0.05, 0.1, 0.25, 0.5, 1.0)


class Figures:
    """All axes, for runs that share some settings; `[name]` is one of them."""

    def __init__(self, shared: Sequence[str] = ()):
        self.shared, self.usual = tuple(shared), load_settings(overrides=list(shared))
        usual = self.usual
        counts = self._lpd("K, prototypes per tissue", "model.prototypes", usual.model.prototypes, COUNTS)
        banks = self._line("pbip", "model.prototypes", COUNTS, None, "training.second_stage=false")
        temperature = usual.loss.diversity_temperature
        self.axes = {
            "lambda": self._lpd("lambda_div", "loss.diversity", usual.loss.diversity, (0, 0.25, 0.5, 1, 2)),
            "K": counts,
            "T": self._lpd("T", "loss.diversity_temperature", temperature, (0.03, 0.1, 0.3, 1), logarithmic=True),
            "labels": Axis(
                "labelled patches in % of all", 100, tuple(map(self._labels, ("lpd", "cam", "supervised"))), True
            ),
            "prototypes": Axis(counts.title, counts.default, (*counts.lines, banks)),
        }

    def rows(self, names: Sequence[str]) -> list[Variant]:
        """The rows of some axes, each once."""
        return list(dict.fromkeys(row for name in names for one in self.axes[name].lines for row in one.rows))

    def _lpd(self, title: str, key: str, usual: float, values: Sequence[float], logarithmic: bool = False) -> Axis:
        """LPD over one setting, its default always among the values."""
        return Axis(title, usual, (self._line("lpd", key, sorted({*values, usual}), usual),), logarithmic)

    def _line(self, method: str, key: str, values: Sequence[float], usual: float | None, *settings: str) -> Line:
        """A curve over one setting; the value that is the method's own is the row that bears its name."""
        rows = tuple(
            self._row(method)
            if value == usual
            else self._row(f"{method} {key.split('.')[-1]}={value:g}", *settings, f"{key}={value:g}")
            for value in values
        )
        return Line(method, tuple(values), rows)

    def _labels(self, method: str) -> Line:
        """A curve over the part of the labelled patches, at the same number of steps."""
        rows = []
        for part in PARTS:
            # Without a number of epochs there are as many as make the same number of steps.
            usual = self.usual.training.epochs
            epochs = () if usual is None else (f"training.epochs={round(usual / part)}",)
            few = self._row(f"{method} {100 * part:g} %", f"data.fraction={part:g}", *epochs)
            rows.append(self._row(method) if part == 1 else few)
        return Line(method, tuple(100 * part for part in PARTS), tuple(rows))

    def _row(self, label: str, *settings: str) -> Variant:
        """A row; its label begins with the method."""
        return Variant(label, label.split()[0], settings=(*self.shared, *settings))


def draw_line(axes: plt.Axes, one: Line, results: Sequence[RunResult], key: str, factor: float) -> None:
    """Mean over the seeds as a line, every run as a dot."""
    means = []
    for value, row in zip(one.values, one.rows, strict=True):
        own = [factor * r.values[key] for r in results if r.variant == row and not np.isnan(r.values.get(key, np.nan))]
        axes.plot([value] * len(own), own, "o", color=COLOURS[one.method], alpha=0.5, markersize=5)
        if own:
            means.append((value, np.mean(own)))
    if means:
        axes.plot(*zip(*means, strict=True), color=COLOURS[one.method], label=one.method, linewidth=1.8)


def finish(axes: plt.Axes, axis: Axis, what: str) -> None:
    """Names, ticks and the default."""
    values = sorted({value for one in axis.lines for value in one.values})
    if axis.logarithmic:
        axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    if axis.default != max(values):
        axes.axvline(axis.default, color="#b8bec7", linewidth=1, linestyle="--", zorder=0)
    axes.set_xlabel(axis.title)
    axes.set_ylabel(what)
    axes.grid(axis="y", color="#e3e6ea", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def draw(figures: Figures, results: Sequence[RunResult], seeds: int, folder: Path, source: str) -> list[Path]:
    """The plots for which there are runs; a plot says how many seeds a point has."""
    folder.mkdir(parents=True, exist_ok=True)
    done = {result.variant for result in results}
    note = f"{source}; {'one seed' if seeds == 1 else f'up to {seeds} seeds'} per point"
    axes_of = figures.axes
    plots = {
        "sensitivity.png": [(axes_of[name], "miou", "mIoU in %, honest", 100.0) for name in ("lambda", "K", "T")],
        "labels.png": [(axes_of["labels"], "miou", "mIoU in %, honest", 100.0)],
        "prototypes-over-k.png": [(axes_of["prototypes"], key, words, 1.0) for key, words in MEASURES],
    }
    written = []
    for name, panels in plots.items():
        panels = [p for p in panels if sum(row in done for one in p[0].lines for row in one.rows) > 1]
        if not panels:
            continue
        figure, grid = plt.subplots(1, len(panels), figsize=(max(5.2, 3.6 * len(panels)), 3.4), squeeze=False)
        for axes, (axis, key, words, factor) in zip(grid[0], panels, strict=True):
            for one in axis.lines:
                draw_line(axes, one, results, key, factor)
            finish(axes, axis, words)
        if key == "miou" and len(panels) > 1:  # one scale for what is compared
            limits = [axes.get_ylim() for axes in grid[0]]
            for axes in grid[0]:
                axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        if any(len(axis.lines) > 1 for axis, *_ in panels):
            grid[0][-1].legend(frameon=False)
        words = note if name == "labels.png" else f"{note}; dashed: the default"
        figure.suptitle(textwrap.fill(words, round(14 * figure.get_figwidth())), fontsize=9, color="#5c6570")
        figure.tight_layout()
        figure.savefig(folder / name, dpi=130)
        plt.close(figure)
        written.append(folder / name)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=list(Figures().axes), choices=list(Figures().axes))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of all runs")
    parser.add_argument("--images", type=Path, default=Path("docs/images"))
    parser.add_argument("--plot-only", action="store_true")
    arguments = parser.parse_args()
    figures = Figures(arguments.set)
    plan = Plan.make(arguments.data, figures.rows(arguments.only), arguments.seeds)
    if not arguments.plot_only:
        complete(plan, arguments.out, arguments.jobs)
    everything = read_plan(arguments.out)
    found = write_table(everything, arguments.out)
    for path in draw(figures, found.results, everything.seeds, arguments.images, f"{plan.data.name}, {found.protocol}"):
        print(f"written: {path}")


if __name__ == "__main__":
    main()
