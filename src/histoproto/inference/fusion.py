"""Fusion: the class activation maps of all scales as one, at the size of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from histoproto.errors import SettingError
from histoproto.inference.gating import gate

Fusion = Literal["raw", "minmax"]


def fuse_scales(
    maps: Sequence[Tensor],
    size: tuple[int, int],
    weights: Sequence[float],
    mode: Fusion,
    present: Tensor | None = None,
) -> Tensor:
    """Weighted mean of the maps of several scales, upsampled bilinearly (corners not aligned).

    Args:
        maps: one B×C×h_s×w_s per scale, any real number.
        size: height and width of the result.
        weights: one per scale, not negative; only their ratio matters.
        mode: `raw` fuses the maps as they are; `minmax` (LPD, arXiv 2512.05922) stretches each to [0, 1] first.
        present: B×C bool; absent tissues get −inf (`raw`) or 0 (`minmax`).

    Returns:
        B×C×H×W.

    Raises:
        SettingError: the weights do not fit the scales, or are all zero.
    """
    if len(weights) != len(maps) or sum(weights) <= 0:
        raise SettingError(
            f"fusion takes one weight for each of {len(maps)} scales, not all of them 0, found {tuple(weights)}"
        )
    if mode == "minmax":
        maps = [minmax(scale) for scale in maps]
    fused = torch.zeros((), device=maps[0].device)
    for scale, weight in zip(maps, weights, strict=True):
        upsampled = F.interpolate(scale.float(), size, mode="bilinear", align_corners=False)
        fused = fused + weight / sum(weights) * upsampled
    return fused if present is None else gate(fused, present, -torch.inf if mode == "raw" else 0.0)


def minmax(maps: Tensor) -> Tensor:
    """ReLU, then each map of each tissue (B×C×h×w) stretched to [0, 1]; a flat map gives zeros."""
    maps = maps.float().relu()
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    span = high - low
    return torch.where(span > 0, (maps - low) / span.where(span > 0, 1), 0)
