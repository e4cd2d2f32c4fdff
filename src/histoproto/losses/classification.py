"""Multi-scale classification loss: which tissues are in the patch?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_WEIGHT = 10.0


def classification_loss(
    logits: Sequence[Tensor],
    labels: Tensor,
    scale_weights: Sequence[float],
    balance: Tensor | None = None,
) -> Tensor:
    """L_cls = Σ_s w_s · BCE(z_s, y) (LPD, arXiv 2512.05922).

    Args:
        logits: class logits z_s per scale, each B×C.
        labels: B×C in {0, 1}.
        scale_weights: w_s per scale; the paper's are 0.1, 1, 1 for scales 2, 3, 4.
        balance: 2×C, weights of patches with and without each tissue (`balancing_weights`); None: 1, as in the paper.

    Returns:
        A scalar ≥ 0; the mean over patches and tissues at each scale.
    """
    weights = None if balance is None else labels * balance[0] + (1 - labels) * balance[1]
    total = logits[0].new_zeros((), dtype=labels.dtype)
    for z, weight in zip(logits, scale_weights, strict=True):
        total = total + weight * F.binary_cross_entropy_with_logits(z.float(), labels, weight=weights)
    return total


def balancing_weights(frequency: Tensor) -> Tensor:
    """Weights that make patches with and without a tissue count alike, however common it is.

    Without them the map of a tissue that is nearly everywhere lies above all others, and a rare one may vanish.

    Args:
        frequency: C, part of the training patches that hold each tissue, in [0, 1].

    Returns:
        2×C: 0.5 / f for patches with the tissue and 0.5 / (1 − f) for those without, at most `MOST_WEIGHT`.
    """
    return (0.5 / torch.stack([frequency, 1 - frequency]).clamp(min=1e-6)).clamp(max=MOST_WEIGHT)
