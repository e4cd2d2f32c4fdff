"""Cross-validation in a comparison: the data folder of each fold, and the folds of a run brought together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from histoproto.compare.plan import Plan, Variant
from histoproto.compare.results import OTHERS, RunResult, read_run
from histoproto.data.folds import assign_folds, foldable, write_fold
from histoproto.data.layouts import open_data
from histoproto.evaluation.confusion import scores
from histoproto.evaluation.protocols import load_metrics

FOLDS = "folds"
SUMMED = ("seconds", "processor_seconds")


def fold_data(out: Path, fold: int) -> Path:
    """The data folder of a fold."""
    return out / FOLDS / f"fold-{fold}"


def write_folds(plan: Plan, out: Path) -> None:
    """Write the data folder of each fold of a plan that is not there yet.

    Raises:
        DataError, SettingError, OutputError: see `assign_folds` and `write_fold`.
    """
    data = open_data(plan.data)
    assigned = assign_folds(foldable(data), plan.folds)
    for fold in range(plan.folds):
        write_fold(data, fold_data(out, fold), {group for group, own in assigned.items() if own == fold})


def read_results(plan: Plan, out: Path) -> list[RunResult]:
    """All finished runs of a comparison, by row and seed; those that are missing or stopped are left out."""
    found = (
        read_folds(variant, seed, out, plan.folds) if plan.folds else read_run(variant, seed, variant.run(out, seed))
        for variant in plan.variants
        for seed in range(plan.seeds)
    )
    return [result for result in found if result is not None]


def read_folds(variant: Variant, seed: int, out: Path, folds: int) -> RunResult | None:
    """The folds of a row and seed as one result; None if one of them is not finished."""
    found = [read_run(variant, seed, variant.run(out, seed, fold)) for fold in range(folds)]
    done = [result for result in found if result is not None]
    return pool(done, variant.run(out, seed)) if len(done) == folds else None


def pool(folds: Sequence[RunResult], folder: Path) -> RunResult:
    """One result of the folds of a run.

    Every group was tested once, so scores are those of the sum of all confusion matrices; what has none (boundary IoU,
    mislabelled, mAP, prototypes) is the mean over folds, and times are sums.
    """
    first = folds[0]
    regions = {name: matrix for result in folds for name, matrix in result.regions.items()}
    values = {}
    for key in first.values:
        figures = [result.values.get(key, math.nan) for result in folds]
        values[key] = float(np.sum(figures) if key in SUMMED else np.mean(figures))
    honest = scores(np.sum(list(regions.values()), axis=0), "ignored")
    values |= {"miou": honest.miou, "mdice": honest.mdice, "fwiou": honest.fwiou}
    values |= {f"iou {name}": float(iou) for name, iou in zip(first.tissues, honest.iou, strict=True)}
    metrics = [load_metrics(result.folder) for result in folds]
    for key, name in OTHERS.items():
        if f"{key}_miou" in values:
            results = [each[name]["test"] for each in metrics]
            matrices = [np.array(matrix) for each in results for matrix in each["groups"].values()]
            values[f"{key}_miou"] = scores(np.sum(matrices, axis=0), results[0]["protocol"]["background"]).miou
    protocol = f"{first.protocol.split(';')[0]}; {len(folds)} folds, {len(regions)} groups, each tested once"
    return replace(first, folder=folder, values=values, regions=regions, protocol=protocol)
