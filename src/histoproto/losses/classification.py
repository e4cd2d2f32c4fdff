"""Multi-scale classification loss: which tissues are in the patch?"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def classification_loss(logits: Sequence[Tensor], labels: Tensor, scale_weights: Sequence[float]) -> Tensor:
    """L_cls = Σ_s w_s · BCE(z_s, y) (LPD, arXiv 2512.05922).

    Args:
        logits: class logits z_s per scale, each B×C.
        labels: B×C in {0, 1}.
        scale_weights: w_s per scale; the paper's are 0.1, 1, 1 for scales 2, 3, 4.

    Returns:
        A scalar ≥ 0; the mean over patches and tissues at each scale.
    """
    total = logits[0].new_zeros((), dtype=labels.dtype)
    for z, weight in zip(logits, scale_weights, strict=True):
        total = total + weight * F.binary_cross_entropy_with_logits(z.float(), labels)
    return total
