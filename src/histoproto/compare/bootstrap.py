"""Is the difference between two methods more than luck with the regions? Bootstrap over regions, paired by seed.

Pixels of one region are no independent witnesses, so whole regions are drawn: with replacement, the same for both
methods, their confusion matrices are summed, and the difference of the mean IoU is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoproto.compare.results import RunResult
from histoproto.evaluation.confusion import Matrix

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """mIoU of a method minus that of the reference, mean over the seeds that both have; fractions in [−1, 1]."""

    label: str
    reference: str
    seeds: tuple[int, ...]
    regions: int
    estimate: float
    """On the regions as they are."""
    draws: NDArray[np.float64]
    """One difference per draw of regions."""

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % percentile interval of the draws. It knows of other regions, not of other seeds."""
        low, high = np.quantile(self.draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `open` where the interval holds 0."""
        low, high = self.interval
        return "better" if low > 0 else "worse" if high < 0 else "open"


def differences(results: Sequence[RunResult], reference: str, draws: int = DRAWS) -> list[Difference]:
    """Every row against the reference, in order; rows without a seed and the regions of it are left out."""
    runs: dict[str, dict[int, RunResult]] = {}
    for result in results:
        runs.setdefault(result.variant.label, {})[result.seed] = result
    theirs = runs.get(reference, {})
    found = []
    for label, ours in runs.items():
        common = sorted(ours.keys() & theirs.keys())
        seeds = tuple(seed for seed in common if ours[seed].regions.keys() == theirs[seed].regions.keys())
        if label == reference or not seeds:
            continue
        names = sorted(ours[seeds[0]].regions)
        first, second = (
            np.stack([[each[seed].regions[name] for name in names] for seed in seeds]) for each in (ours, theirs)
        )
        estimate, drawn = difference_of_miou(first, second, draws)
        found.append(Difference(label, reference, seeds, len(names), estimate, drawn))
    return found


def difference_of_miou(
    first: Matrix, second: Matrix, draws: int = DRAWS, seed: int = 0
) -> tuple[float, NDArray[np.float64]]:
    """mIoU of `first` minus that of `second` (background ignored), mean over seeds.

    Args:
        first: confusion matrices by seed and region, S×R×(C+1)×(C+1).
        second: those of another method for the same seeds and regions.
        draws: D, number of draws of R regions with replacement.
        seed: of the draws; the same numbers give the same draws for all methods.

    Returns:
        The difference on the regions as they are, and on each draw (D).
    """
    regions = first.shape[1]
    times = np.random.default_rng(seed).multinomial(regions, np.full(regions, 1 / regions), size=draws)
    times = np.concatenate([np.ones((1, regions), dtype=times.dtype), times])
    # Draws × seeds, then the mean over seeds.
    found = (mean_iou(_summed(times, first)) - mean_iou(_summed(times, second))).mean(axis=1)
    return float(found[0]), found[1:]


def _summed(times: NDArray[np.int64], matrices: Matrix) -> Matrix:
    """Sums over regions, each as often as it was drawn: D×R and S×R×(C+1)² → D×S×(C+1)²."""
    return np.asarray(np.einsum("dr,srij->dsij", times, matrices, optimize=True))


def mean_iou(matrices: Matrix) -> NDArray[np.float64]:
    """mIoU of many confusion matrices (…×(C+1)×(C+1)) at once, background ignored.

    The mean is over the tissues that are in the truth: in a draw without any region of a rare tissue, a few stray
    pixels would otherwise decide whether that tissue counts with an IoU of 0 or not at all.
    """
    scored = matrices[..., :-1, :].astype(np.float64)
    hits = np.diagonal(scored, axis1=-2, axis2=-1)
    true = scored.sum(axis=-1)
    union = true + scored.sum(axis=-2)[..., :-1] - hits
    known = true > 0
    iou = np.where(known, hits / np.maximum(union, 1), 0.0)
    return np.asarray(iou.sum(axis=-1) / np.maximum(known.sum(axis=-1), 1))
