"""A large image: the steps of a patch, done window by window and blended."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histoproto.config import InferenceSettings
from histoproto.inference.crf import dense_crf
from histoproto.inference.fusion import Ranges
from histoproto.inference.patches import PatchMaps, add_ranges, as_batch, patch_maps
from histoproto.inference.windows import Window, blend
from histoproto.model.network import Network

BATCH = 16
"""Windows that go through the network together."""
CRF_BATCH = 4


def windowed_maps(
    network: Network,
    image: NDArray[np.uint8],
    windows: Sequence[Window],
    settings: InferenceSettings,
    thresholds: Tensor,
    labels: Tensor | None = None,
) -> PatchMaps:
    """Maps of one image of any size, blended on the CPU from those of its windows.

    Each window is gated by itself: what the classifier says is about a patch, and a tissue at one end of a large image
    says nothing about the other. Min–max maps, on the other hand, are stretched over the whole image (in a first round
    through the windows), as a window that is full of a tissue holds nothing that is low for it.

    Args:
        network, settings, thresholds: see `patch_maps`; `thresholds` on the device of the network.
        image: H×W×3 uint8 RGB.
        windows: covering it, of the size of a patch.
        labels: `oracle` labels of the whole image, 1×C bool, or None.

    Returns:
        For a batch of one. Probabilities are the highest of any window, present are the tissues of any window.
    """
    probabilities, present = [], []
    ranges: Ranges | None = None

    def cut(batch: Sequence[Window]) -> tuple[Tensor, Tensor | None]:
        pixels = as_batch(np.stack([image[window.place] for window in batch]), thresholds.device)
        return pixels, None if labels is None else labels.expand(len(batch), -1)

    def predict(batch: Sequence[Window]) -> Tensor:
        pixels, named = cut(batch)
        maps = patch_maps(network, pixels, settings, thresholds, named, ranges)
        probabilities.append(maps.probabilities.cpu())
        present.append(maps.present.cpu())
        return maps.scores if maps.foreground is None else torch.cat([maps.scores, maps.foreground], dim=1)

    by_activation = settings.background == "activation"
    if by_activation or settings.fusion == "minmax":
        for start in range(0, len(windows), BATCH):
            pixels, named = cut(windows[start : start + BATCH])
            ranges = add_ranges(ranges, network, pixels, thresholds, named)
    blended = blend(predict, windows, BATCH)[None]
    return PatchMaps(
        blended[:, : len(thresholds)],
        blended[:, len(thresholds) :] if by_activation else None,
        torch.cat(probabilities).amax(dim=0, keepdim=True),
        torch.cat(present).any(dim=0, keepdim=True),
    )


def windowed_crf(pixels: Tensor, chances: Tensor, windows: Sequence[Window], device: torch.device) -> Tensor:
    """The dense CRF of one image (1×3×H×W uint8, 1×L×H×W) in windows, blended; its memory is that of a few windows."""

    def refine(batch: Sequence[Window]) -> Tensor:
        images, unaries = (torch.cat([whole[:, :, *w.place] for w in batch]).to(device) for whole in (pixels, chances))
        refined: Tensor = dense_crf(images, unaries)
        return refined

    return blend(refine, windows, CRF_BATCH)[None]
