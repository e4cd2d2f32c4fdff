"""How well the image-level classifier, which gates the labels, knows which tissues are in a patch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from histoproto.evaluation.confusion import mean_of_known


@dataclass(frozen=True)
class ClassifierScores:
    """Scores in [0, 1] per tissue and as a mean over the tissues that have one."""

    average_precision: NDArray[np.float64]
    """C; NaN for a tissue that is in no patch."""
    f1: NDArray[np.float64]
    """C, at the gating thresholds; NaN for a tissue that is in no patch and found in none."""
    mean_average_precision: float
    mean_f1: float


def classifier_scores(
    probabilities: NDArray[np.floating], present: NDArray[np.bool_], thresholds: ArrayLike
) -> ClassifierScores:
    """Average precision and F1 of multi-label predictions.

    Args:
        probabilities: N×C in [0, 1].
        present: N×C, true where the tissue is in the patch.
        thresholds: C; found from this probability on. (Gating also lets the likeliest tissue pass where none is
            found; that is not counted here.)
    """
    found = probabilities >= np.asarray(thresholds)
    hits, ends = (found & present).sum(axis=0), found.sum(axis=0) + present.sum(axis=0)
    f1 = np.where(ends > 0, 2 * hits / np.maximum(ends, 1), np.nan)
    columns = zip(probabilities.T, present.T, strict=True)
    precision = np.array([average_precision(*column) for column in columns], dtype=np.float64)
    return ClassifierScores(precision, f1, mean_of_known(precision), mean_of_known(f1))


def average_precision(probabilities: NDArray[np.floating], present: NDArray[np.bool_]) -> float:
    """Σ over thresholds of (gain in recall) × precision, without interpolation; NaN without a positive.

    Equal probabilities are one threshold, so the order of the patches does not matter.

    >>> average_precision(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]))
    0.8333333333333333
    """
    if not present.any():
        return float("nan")
    order = np.argsort(-probabilities, kind="stable")
    ranked, positive = probabilities[order], present[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(positive)[last]
    precision, recall = hits / (last + 1), hits / positive.sum()
    return float((np.diff(recall, prepend=0) * precision).sum())
