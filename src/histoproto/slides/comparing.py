"""How a map differs from the truth: what is counted of both, strip by strip, and the scores of these counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from histoproto.evaluation.boundary import boundary_counts, boundary_iou
from histoproto.evaluation.confusion import Matrix, Treatment, confusion_matrix, mean_of_known, scores
from histoproto.evaluation.reliability import Reliability
from histoproto.evaluation.summary import plain
from histoproto.inference.doubt import DOUBTFUL
from histoproto.inference.windows import CELL
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.labelling.trust import pixels_of
from histoproto.slides.outlines.tracing import strip_rows


class Counts(NamedTuple):
    """What is counted of a map and its truth; counts of several maps are summed (`together`)."""

    matrix: Matrix
    """(C+1)×(C+1), rows are true, background last."""
    outlines: NDArray[np.int64]
    """Of the bands along outlines, C×2."""
    reliability: Reliability
    """Of pixels of true tissue that a tissue was named for."""


def compare(
    raster: LabelRaster,
    doubt: LabelRaster,
    truth: Callable[[int, int], NDArray[np.uint8]],
    tissues: int,
    background: Treatment,
    reach: int,
) -> Counts:
    """Count a map against the truth, a strip at a time.

    Args:
        raster: the map.
        doubt: of its cells, 0 … 255 for 0 … 1.
        truth: rows first … last − 1 of the true label map.
        tissues: C.
        background: pixels of true background, `ignored` or `counted`.
        reach: width of the bands along outlines, in pixels.
    """
    counts = Counts(np.zeros((tissues + 1, tissues + 1), np.int64), np.zeros((tissues, 2), np.int64), Reliability())
    step = max(strip_rows(raster.width), 2 * reach)
    for top in range(0, raster.height, step):
        end = min(top + step, raster.height)
        first, last = max(0, top - reach), min(end + reach, raster.height)
        predicted, true = raster.read(first, 0, last - first, raster.width), truth(first, last)
        core = slice(top - first, end - first)
        outlines = boundary_counts(predicted, true, tissues, background, reach=reach, rows=core)
        predicted, true = predicted[core], true[core]
        named = (true < tissues) & (predicted < tissues)
        unsure = pixels_of(doubt, top, end - top, raster.width, CELL)[named] / 255
        counts.matrix[:] += confusion_matrix(predicted, true, tissues)
        counts.outlines[:] += outlines
        counts.reliability.add(unsure, (predicted == true)[named])
    return counts


def together(all_counts: list[Counts]) -> Counts:
    """The counts of several maps as one; at least one."""
    matrices, outlines, reliabilities = zip(*all_counts, strict=True)
    return Counts(np.sum(matrices, axis=0), np.sum(outlines, axis=0), sum(reliabilities, Reliability()))


def summarise(counts: Counts, names: tuple[str, ...], background: Treatment) -> dict[str, Any]:
    """Scores as fractions in [0, 1], None where there is nothing to score: `miou`, `boundary_iou`, `pixel_accuracy`,
    `calibration` (as of patches, after calibration), `tissues` with `iou` and `boundary_iou` of each; `pixels`,
    `confusion`."""
    found, outline = scores(counts.matrix, background), boundary_iou(counts.outlines)
    return {
        "miou": plain(found.miou),
        "boundary_iou": plain(mean_of_known(outline)),
        "pixel_accuracy": plain(found.pixel_accuracy),
        "calibration": {
            "error": plain(counts.reliability.calibration_error()),
            "doubtful": plain(counts.reliability.share_from(1 - DOUBTFUL)),
            "errors_in_doubtful_tenth": plain(counts.reliability.errors_in_most_doubtful()),
        },
        "pixels": int(counts.matrix[: len(names)].sum()),
        "tissues": {
            name: {"iou": plain(found.iou[index]), "boundary_iou": plain(outline[index])}
            for index, name in enumerate(names)
        },
        "confusion": counts.matrix.tolist(),
    }
