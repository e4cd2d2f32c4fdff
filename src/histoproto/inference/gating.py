"""Label gating: only tissues that are in the image may appear in its mask."""

from __future__ import annotations

import torch
from torch import Tensor


def present_tissues(probabilities: Tensor, thresholds: Tensor) -> Tensor:
    """Tissues that the image-level classifier finds (`predicted` labels).

    Args:
        probabilities: B×C in [0, 1], or B×C×H×W, of each place by itself.
        thresholds: C; a tissue is present from its threshold on.

    Returns:
        bool of the same shape, with at least one tissue per image or place: if none reaches its threshold, the one with
        the highest margin (probability − threshold) is taken, as every patch shows some tissue.
    """
    margins = probabilities - thresholds.view(-1, *[1] * (probabilities.ndim - 2))
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


def everywhere(present: Tensor) -> Tensor:
    """Which tissues are present, B×C or B×C×H×W, as what can be broadcast against maps: B×C×1×1 or B×C×H×W."""
    return present[:, :, None, None] if present.ndim == 2 else present


def gate(maps: Tensor, present: Tensor, absent: float) -> Tensor:
    """Set the maps (B×C×H×W) of tissues that are not `present` (B×C or B×C×H×W bool) to the value `absent`."""
    return maps.masked_fill(~everywhere(present), absent)


def gate_softly(maps: Tensor, present: Tensor) -> Tensor:
    """Like `gate`, with one less than an image's lowest value in place of −inf.

    With it an absent tissue loses at every pixel, and yet the maps stay finite.
    """
    floor = maps.flatten(1).amin(dim=1)[:, None, None, None] - 1
    return torch.where(everywhere(present), maps, floor)
