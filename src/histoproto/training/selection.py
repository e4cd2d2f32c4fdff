"""Which checkpoint to keep, when a few held-out patches are all there is to tell.

The rule is that of one standard error (Breiman et al., *Classification and Regression Trees*, 1984): the *latest*
checkpoint that is no worse than the best by more than the standard error of the best. Mean average precision on a
hundred patches of a few regions goes up and down by chance, and taken at its word it picks the first epoch as often as
the last. Only the second half of training takes part: before, the learning rate is high and the losses that come after
the warm-up have hardly acted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from histoproto.evaluation.classifier import average_precision
from histoproto.evaluation.confusion import mean_of_known

DRAWS = 100


def mean_average_precision(probabilities: NDArray[np.floating], present: NDArray[np.bool_]) -> float:
    """Average precision over tissues with a positive patch (N×C each); NaN if there is none."""
    columns = zip(probabilities.T, present.T, strict=True)
    return mean_of_known(np.array([average_precision(*column) for column in columns]))


def standard_error(
    probabilities: NDArray[np.floating], present: NDArray[np.bool_], groups: Sequence[str], seed: int = 0
) -> float:
    """Standard error of the mean average precision, by bootstrap over groups.

    Patches of one region are alike, so regions are drawn, not patches.

    Args:
        probabilities: N×C in [0, 1].
        present: N×C.
        groups: N, the region or slide of each patch.
        seed: of the draws.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    rows = [np.flatnonzero(member == index) for index in range(len(names))]
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(DRAWS):
        drawn = np.concatenate([rows[index] for index in rng.integers(len(rows), size=len(rows))])
        found.append(mean_average_precision(probabilities[drawn], present[drawn]))
    return float(np.nanstd(found))
