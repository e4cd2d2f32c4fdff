"""Boundary IoU (Cheng et al., CVPR 2021): how well the outlines agree, whatever the size of a region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoproto.evaluation.confusion import Treatment

BAND = 0.02
"""Width of the band along an outline, as part of the image's diagonal (the paper's default)."""


def boundary_counts(
    predicted: NDArray[np.uint8],
    true: NDArray[np.uint8],
    tissues: int,
    background: Treatment = "ignored",
    band: float = BAND,
    frame: bool = False,
    reach: int | None = None,
    rows: slice = slice(None),
) -> NDArray[np.int64]:
    """Pixels in the intersection and in the union of the bands of truth and prediction, per tissue.

    The band of a mask is what lies in it within d pixels (chessboard distance, as in the authors' code) of a pixel that
    does not: d = `band` × diagonal, at least 1. Sums over images give the boundary IoU of a data set.

    Args:
        predicted: H×W label map.
        true: H×W label map.
        tissues: number of tissues, C.
        background: `ignored`: pixels of true background are left out, and a border with them is no outline, as nobody
            knows what is there.
        band: see above.
        frame: whether the edge of the image counts as outline, as in the authors' code. Not by default: a patch is
            cut through tissue, and its four sides would outweigh every true outline.
        reach: d in pixels, instead of `band`.
        rows: which rows are counted; those beside them, as far as they are within reach, only tell where outlines are.

    Returns:
        C×2 int64: intersection, union.
    """
    if reach is None:
        reach = max(1, round(band * float(np.hypot(*true.shape))))
    unknown = true == tissues if background == "ignored" else np.zeros(true.shape, dtype=np.bool_)
    counts = np.zeros((tissues, 2), dtype=np.int64)
    for tissue in np.union1d(np.unique(predicted), np.unique(true)):
        if tissue < tissues:
            ours, theirs = (_band((labels == tissue) & ~unknown, unknown, reach, frame) for labels in (predicted, true))
            ours, theirs = ours[rows], theirs[rows]
            counts[tissue] = np.count_nonzero(ours & theirs), np.count_nonzero(ours | theirs)
    return counts


def _band(mask: NDArray[np.bool_], unknown: NDArray[np.bool_], reach: int, frame: bool) -> NDArray[np.bool_]:
    outside = (~mask & ~unknown).astype(np.uint8)
    near = ndimage.maximum_filter(outside, size=2 * reach + 1, mode="constant", cval=int(frame))
    return np.asarray(mask & (near > 0))


def boundary_iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Boundary IoU per tissue, C, from (sums of) `boundary_counts`; NaN where there is no outline at all."""
    intersection, union = counts[:, 0], counts[:, 1]
    return np.where(union > 0, intersection / np.maximum(union, 1), np.nan)
