"""Fusion: the class activation maps of all scales as one, at the size of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from histoproto.errors import SettingError
from histoproto.inference.gating import gate
from histoproto.model.lattice import upsample_maps

Fusion = Literal["raw", "minmax"]
Ranges = list[tuple[Tensor, Tensor]]
LEVEL = 1e-6
"""Of the remainder, where maps are stretched: so little that it wins only where all others are 0."""


def fuse_scales(
    maps: Sequence[Tensor],
    size: tuple[int, int],
    weights: Sequence[float],
    mode: Fusion,
    present: Tensor | None = None,
    ranges: Ranges | None = None,
) -> Tensor:
    """Weighted mean of the maps of several scales, upsampled bilinearly (corners not aligned).

    Args:
        maps: one B×C×h_s×w_s per scale, any real number.
        size: height and width of the result.
        weights: one per scale, not negative; only their ratio matters. A single map needs none.
        mode: `raw` fuses the maps as they are; `minmax` (LPD, arXiv 2512.05922) stretches each to [0, 1] first.
        present: B×C bool; absent tissues get −inf (`raw`) or 0 (`minmax`).
        ranges: for `minmax`, what becomes 0 and 1; None: the lowest and highest value of each map.

    Returns:
        B×C×H×W.

    Raises:
        SettingError: the weights do not fit the scales, or are all zero.
    """
    if len(maps) == 1:
        weights = (1.0,)
    if len(weights) != len(maps) or sum(weights) <= 0:
        raise SettingError(
            f"fusion takes one weight for each of {len(maps)} scales, not all of them 0, found {tuple(weights)}"
        )
    if mode == "minmax":
        maps = [minmax(scale, *(ranges[index] if ranges else ())) for index, scale in enumerate(maps)]
    weighted: dict[torch.Size, Tensor] = {}
    for scale, weight in zip(maps, weights, strict=True):  # scales of one size are upsampled together
        part = weight / sum(weights) * scale.float()
        weighted[scale.shape] = weighted[scale.shape] + part if scale.shape in weighted else part
    fused = sum(upsample_maps(part, size) for part in weighted.values())
    assert isinstance(fused, Tensor)
    return fused if present is None else gate(fused, present, -torch.inf if mode == "raw" else 0.0)


def minmax(maps: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """ReLU, then each map of each tissue (B×C×h×w) stretched to [0, 1]; a flat one gives zeros.

    One that was 0 everywhere is of the remainder (`model.remainder`), which wins where others are below 0: `LEVEL`.

    `low` and `high` (B×C×1×1), if given, become 0 and 1, and what is beyond them is cut off.
    """
    level = (maps == 0).all(dim=3, keepdim=True).all(dim=2, keepdim=True)
    maps = maps.float().relu()
    low = maps.amin(dim=(2, 3), keepdim=True) if low is None else low
    high = maps.amax(dim=(2, 3), keepdim=True) if high is None else high
    span = high - low
    stretched = torch.where(span > 0, (maps - low) / span.where(span > 0, 1), 0).clamp(0, 1)
    return torch.where(level, LEVEL, stretched)


def widen_ranges(ranges: Ranges | None, maps: Sequence[Tensor], present: Tensor) -> Ranges:
    """The lowest and highest value (after ReLU) of each tissue at each scale, over windows of one image.

    A window that shows a single tissue says nothing about what is low for it; all windows together do.

    Args:
        ranges: of the windows before; None for the first.
        maps: one B×C×h_s×w_s per scale, for B windows.
        present: B×C bool; windows without a tissue do not count for it.

    Returns:
        Per scale (low, high), 1×C×1×1 each; infinite, low above high, for a tissue that is in no window yet.
    """
    widened = []
    absent = ~present[:, :, None, None]
    for index, scale in enumerate(maps):
        values = scale.float().relu()
        low = values.masked_fill(absent, torch.inf).amin(dim=(0, 2, 3))[None, :, None, None]
        high = values.masked_fill(absent, -torch.inf).amax(dim=(0, 2, 3))[None, :, None, None]
        if ranges:
            low, high = torch.minimum(low, ranges[index][0]), torch.maximum(high, ranges[index][1])
        widened.append((low, high))
    return widened
