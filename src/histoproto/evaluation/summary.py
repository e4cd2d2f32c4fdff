"""From evaluated patches to the numbers of a data set, as plain values that go into JSON."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histoproto.evaluation.boundary import boundary_counts, boundary_iou
from histoproto.evaluation.classifier import classifier_scores
from histoproto.evaluation.confusion import (
    Matrix,
    Treatment,
    mean_of_known,
    mislabelled_pixels,
    scored_rows,
    scores,
)
from histoproto.evaluation.patches import PatchResult
from histoproto.evaluation.reliability import Reliability
from histoproto.inference.doubt import DOUBTFUL
from histoproto.tissue import TissueSet


def summarise(
    results: Iterable[PatchResult],
    tissues: TissueSet,
    thresholds: Sequence[float],
    background: Treatment,
    groups: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Scores of a data set from those of its patches: counts are summed first, then scored.

    Args:
        results: at least one.
        tissues: of the model.
        thresholds: gating thresholds, C, for the F1 of the classifier.
        background: pixels of true background `ignored` or `counted`.
        groups: also give the confusion matrix of each region.
        progress: called with the number of patches done.

    Returns:
        Fractions in [0, 1], None where there is nothing to score:
        `scores` (miou, mdice, fwiou, boundary_iou, pixel_accuracy, mislabelled: share of scored pixels given to a
        tissue that is not in the patch at all), `calibration` (of pixels of true tissue that a tissue was named for:
        `error_before`, expected calibration error of the gated maps as they are, and `error` of the calibrated chances;
        `doubtful`, share whose chance is below `DOUBTFUL`; `errors_in_doubtful_tenth`, share of the errors that are in
        the most doubtful tenth), `classifier` (mean_average_precision, mean_f1), `tissues` (by name:
        iou, dice, boundary_iou, average_precision, f1, threshold, pixels and patches that hold it), `pixels` (scored),
        `confusion` ((C+1)², rows are true, background last) and, if asked for, `groups` (such a matrix by region).
    """
    count = len(tissues)
    total = np.zeros((count + 1, count + 1), dtype=np.int64)
    outlines = np.zeros((count, 2), dtype=np.int64)
    by_region: dict[str, Matrix] = defaultdict(lambda: np.zeros_like(total))
    mislabelled = 0
    probabilities, present = [], []
    calibrated, plainly = Reliability(), Reliability()
    for done, result in enumerate(results, start=1):
        total += result.matrix
        by_region[result.patch.region] += result.matrix
        outlines += boundary_counts(result.segmentation.labels, result.truth, count, background)
        mislabelled += mislabelled_pixels(result.matrix, background)
        probabilities.append(result.segmentation.probabilities)
        present.append(result.present)
        _count(calibrated, result.segmentation.doubt, result, count)
        _count(plainly, result.segmentation.uncalibrated, result, count)
        if progress:
            progress(done)
    found, outline = scores(total, background), boundary_iou(outlines)
    classifier = classifier_scores(np.stack(probabilities), np.stack(present), thresholds)
    pixels = int(scored_rows(total, background).sum())
    columns = {
        "iou": found.iou,
        "dice": found.dice,
        "boundary_iou": outline,
        "average_precision": classifier.average_precision,
        "f1": classifier.f1,
        "threshold": np.asarray(thresholds),
        "pixels": total.sum(axis=1)[:-1],
        "patches": np.stack(present).sum(axis=0),
    }
    summary: dict[str, Any] = {
        "scores": {
            "miou": plain(found.miou),
            "mdice": plain(found.mdice),
            "fwiou": plain(found.fwiou),
            "boundary_iou": plain(mean_of_known(outline)),
            "pixel_accuracy": plain(found.pixel_accuracy),
            "mislabelled": plain(mislabelled / pixels if pixels else math.nan),
        },
        "classifier": {
            "mean_average_precision": plain(classifier.mean_average_precision),
            "mean_f1": plain(classifier.mean_f1),
        },
        "tissues": {
            name: {key: plain(values[index]) for key, values in columns.items()}
            for index, name in enumerate(tissues.names)
        },
        "calibration": {
            "error_before": plain(plainly.calibration_error()),
            "error": plain(calibrated.calibration_error()),
            "doubtful": plain(calibrated.share_from(1 - DOUBTFUL)),
            "errors_in_doubtful_tenth": plain(calibrated.errors_in_most_doubtful()),
        },
        "pixels": pixels,
        "confusion": total.tolist(),
    }
    if groups:
        summary["groups"] = {name: matrix.tolist() for name, matrix in sorted(by_region.items())}
    return summary


def _count(reliability: Reliability, doubt: NDArray[np.float32] | None, result: PatchResult, tissues: int) -> None:
    if doubt is not None:
        named = (result.truth < tissues) & (result.segmentation.labels < tissues)
        reliability.add(doubt[named], (result.truth == result.segmentation.labels)[named])


def plain(number: ArrayLike) -> float | int | None:
    """A number as JSON knows it: NaN becomes None."""
    value: float | int = np.asarray(number).item()
    return None if math.isnan(value) else value
