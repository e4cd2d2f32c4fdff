"""One confusion matrix over a data set, and the scores that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]
Treatment = Literal["ignored", "counted"]
"""Pixels whose truth is background: left out of everything, or scored like any others."""


def confusion_matrix(predicted: NDArray[np.uint8], true: NDArray[np.uint8], tissues: int) -> Matrix:
    """Pixels by true label (row) and predicted label (column); background is the last of each.

    Args:
        predicted: label maps of any shape, values 0 … C.
        true: of the same shape.
        tissues: number of tissues, C.

    Returns:
        (C+1)×(C+1) int64. Matrices of several images may be added.

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 2]), 2).tolist()
    [[1, 1, 0], [0, 0, 0], [0, 1, 0]]
    """
    if predicted.shape != true.shape:
        raise ValueError(f"predicted and true label maps differ in shape: {predicted.shape} and {true.shape}")
    cells = true.reshape(-1).astype(np.int64) * (tissues + 1) + predicted.reshape(-1)
    return np.bincount(cells, minlength=(tissues + 1) ** 2).reshape(tissues + 1, tissues + 1)


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1]; NaN where there is nothing to score."""

    iou: NDArray[np.float64]
    """TP / (TP + FP + FN) per tissue, C; NaN for a tissue that is neither in the truth nor predicted."""
    dice: NDArray[np.float64]
    """2 TP / (2 TP + FP + FN) per tissue, C."""
    miou: float
    """Mean over the tissues that have a score; background is no tissue."""
    mdice: float
    fwiou: float
    """IoU weighted by the share of each tissue in the true tissue pixels."""
    pixel_accuracy: float
    """Share of the scored pixels with the right label."""


def scores(matrix: Matrix, background: Treatment = "ignored") -> Scores:
    """Scores of a confusion matrix.

    Args:
        matrix: (C+1)×(C+1), see `confusion_matrix`.
        background: `ignored`: pixels of true background are left out, and a tissue pixel predicted as background is a
            miss (FN) of its tissue. `counted`: a tissue predicted on true background is a false positive as well, and
            background counts in the pixel accuracy. It is left out of the means either way.
    """
    scored = scored_rows(matrix, background)
    tissues = matrix.shape[0] - 1
    hits = np.diag(matrix)[:tissues].astype(np.float64)
    true, predicted = scored.sum(axis=1)[:tissues], scored.sum(axis=0)[:tissues]
    union = true + predicted - hits
    iou = _share(hits, union)
    dice = _share(2 * hits, true + predicted)
    return Scores(
        iou=iou,
        dice=dice,
        miou=mean_of_known(iou),
        mdice=mean_of_known(dice),
        fwiou=float(_share((true * np.nan_to_num(iou)).sum(), true.sum())),
        pixel_accuracy=float(_share(np.trace(scored), scored.sum())),
    )


def scored_rows(matrix: Matrix, background: Treatment) -> Matrix:
    """The matrix without the pixels that are not scored."""
    scored = matrix.copy()
    if background == "ignored":
        scored[-1] = 0
    return scored


def mislabelled_pixels(matrix: Matrix, background: Treatment = "ignored") -> int:
    """Scored pixels of one patch given to a tissue that is nowhere in its truth: what wrong image labels alone cost."""
    absent = matrix[:-1].sum(axis=1) == 0
    return int(scored_rows(matrix, background)[:, :-1][:, absent].sum())


def mean_of_known(values: NDArray[np.float64]) -> float:
    """Mean of what is not NaN; NaN if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _share(part: NDArray[np.float64] | np.float64 | int, whole: NDArray[np.int64] | np.int64) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.where(whole > 0, np.divide(part, np.maximum(whole, 1)), np.nan)
