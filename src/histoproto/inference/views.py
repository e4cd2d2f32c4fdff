"""Test-time views: the same image flipped and at other brightness, and the mean of what the network says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from histoproto.model.network import ClassMaps


class View(NamedTuple):
    """One way to look at an image."""

    flipped: bool
    brightness: float


VIEWS: dict[Literal[1, 6], tuple[View, ...]] = {
    1: (View(False, 1.0),),
    6: tuple(View(flipped, brightness) for flipped in (False, True) for brightness in (0.9, 1.0, 1.1)),
}
"""By number: the image as it is, or the paper's six (horizontal flip × brightness 0.9, 1, 1.1)."""


def mean_of_views(
    network: Callable[[Tensor], ClassMaps],
    fuse: Callable[[tuple[Tensor, ...]], Tensor],
    images: Tensor,
    views: Literal[1, 6],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mean over views of the fused maps, turned back, and of the class logits.

    Args:
        network: images → class maps.
        fuse: maps of all scales → B×C×H×W.
        images: B×3×H×W RGB in [0, 1], before normalisation; brighter views are clamped to 1.
        views: a key of `VIEWS`.

    Returns:
        Fused maps B×C×H×W, logits B×C, and pooled features of the image as it is, B×D, if the network gives them.
    """
    fused = logits = torch.zeros((), device=images.device)
    pooled = None
    for view in VIEWS[views]:
        seen = (images * view.brightness).clamp(0, 1)
        out = network(seen.flip(-1) if view.flipped else seen)
        maps = fuse(out.maps)
        fused = fused + (maps.flip(-1) if view.flipped else maps)
        logits = logits + out.logits.float()
        if view == VIEWS[1][0]:
            pooled = out.pooled
    return fused / len(VIEWS[views]), logits / len(VIEWS[views]), pooled
