"""Label gating: only tissues that are in the image may appear in its mask."""

from __future__ import annotations

import torch
from torch import Tensor


def present_tissues(probabilities: Tensor, thresholds: Tensor) -> Tensor:
    """Tissues that the image-level classifier finds (`predicted` labels).

    Args:
        probabilities: B×C in [0, 1].
        thresholds: C; a tissue is present from its threshold on.

    Returns:
        B×C bool with at least one tissue per image: if none reaches its threshold, the one with the highest margin
        (probability − threshold) is taken, as every patch shows some tissue.
    """
    margins = probabilities - thresholds
    best = torch.zeros_like(margins, dtype=torch.bool).scatter(1, margins.argmax(dim=1, keepdim=True), True)
    passed = margins >= 0
    return torch.where(passed.any(dim=1, keepdim=True), passed, best)


def strongest(maps: Tensor) -> Tensor:
    """The index of the highest of the maps (B×C×H×W, C ≤ 255) at each pixel, uint8 B×H×W; of equals, the first.

    `argmax` over a dimension that is not the last is fifty times slower than this on a CPU.
    """
    count = maps.shape[1]
    ranks = torch.arange(count, 0, -1, dtype=torch.uint8, device=maps.device).view(1, -1, 1, 1)
    return count - ((maps == maps.amax(dim=1, keepdim=True)) * ranks).amax(dim=1)


def gate(maps: Tensor, present: Tensor, absent: float) -> Tensor:
    """Set the maps (B×C×H×W) of tissues that are not `present` (B×C bool) to the value `absent`."""
    return maps.masked_fill(~present[:, :, None, None], absent)


def gate_softly(maps: Tensor, present: Tensor) -> Tensor:
    """Like `gate`, with one less than an image's lowest value in place of −inf.

    With it an absent tissue loses at every pixel, and yet windows that disagree can be averaged.
    """
    floor = maps.flatten(1).amin(dim=1)[:, None, None, None] - 1
    return torch.where(present[:, :, None, None], maps, floor)
