"""A batch of patches through the network: padding, views and fusion give the evidence; gating decides on it."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histoproto.config import InferenceSettings
from histoproto.errors import WeightsError
from histoproto.inference.fusion import Fusion, Ranges, fuse_scales, widen_ranges
from histoproto.inference.gating import gate, gate_softly, present_tissues
from histoproto.inference.strangeness import Strangeness
from histoproto.inference.views import mean_of_views
from histoproto.model.network import ClassMaps, Network

ENCODER_STRIDE = 32
"""Sides are padded to a multiple of this, so that the cells of every feature map cover whole pixels."""


class Evidence(NamedTuple):
    """What the network says of a batch of patches, before any tissue is ruled out."""

    maps: Tensor
    """Fused maps, B×L×H×W: of the C tissues, and after them their min–max maps if background is found by activation
    and the first are raw."""
    logits: Tensor
    """Image-level logit of each tissue: B×C of a patch, or B×C×H×W of each place (`places.place_evidence`)."""
    strange: Tensor | None = None
    """How unlike the training patches, above 1: more than nearly all held-out ones. B×3 of a patch (`Strangeness`), of
    which the first alone as B×1×H×W of each place; None where nothing is known."""


class PatchMaps(NamedTuple):
    """What is known about a batch of patches before labels are decided."""

    scores: Tensor
    """Fused and gated maps, B×C×H×W, finite: absent tissues are below all others (raw) or 0 (min–max)."""
    foreground: Tensor | None
    """Strongest fused min–max map of the present tissues, B×1×H×W in [0, 1], if background is found by activation."""
    probabilities: Tensor
    """Probability that a tissue is there: B×C of a patch, or B×C×H×W of each place."""
    present: Tensor
    """Tissues that the labels or the classifier allow, bool: B×C, or B×C×H×W where that goes by place."""


def patch_maps(
    network: Network,
    images: Tensor,
    settings: InferenceSettings,
    thresholds: Tensor,
    labels: Tensor | None = None,
    ranges: Ranges | None = None,
    cell: int = 1,
) -> PatchMaps:
    """Maps of a batch of patches, each gated by what is found in it (arguments as in `patch_evidence` and `gated`)."""
    return gated(patch_evidence(network, images, settings, ranges, cell), settings, thresholds, labels)


def patch_evidence(
    network: Network,
    images: Tensor,
    settings: InferenceSettings,
    ranges: Ranges | None = None,
    cell: int = 1,
    strangeness: Strangeness | None = None,
) -> Evidence:
    """Fused maps and logits of a batch of patches.

    Args:
        network: in evaluation mode, on the device of `images`.
        images: B×3×H×W RGB in [0, 1], of any size; sides that do not fit the encoder are padded by reflection.
        settings: `fusion`, `fusion_weights`, `background` and `views` are used here.
        ranges: for min–max maps; None: those of each patch.
        cell: side of a square of pixels that share one value: with 8, maps are H/8 × W/8 and the finest ones are taken
            as they are, not upsampled. It must divide the sides of the images, and 32.
        strangeness: what is known of the training patches, if it is to be told how unlike them the images are.

    Raises:
        WeightsError: the network gives something else than finite numbers.
    """
    height, width = (side // cell for side in images.shape[-2:])
    padded = pad_to_stride(images)
    size = (padded.shape[-2] // cell, padded.shape[-1] // cell)
    modes: list[Fusion] = [settings.fusion]
    if settings.background == "activation" and settings.fusion != "minmax":
        modes.append("minmax")

    def fuse(maps: tuple[Tensor, ...]) -> Tensor:
        return torch.cat(
            [fuse_scales(maps, size, settings.fusion_weights, mode, ranges=ranges) for mode in modes], dim=1
        )

    fused, logits, pooled = mean_of_views(partial(_finite_maps, network), fuse, padded, settings.views)
    strange = None
    if strangeness is not None:
        assert pooled is not None  # such a network has no training patches to be unlike to
        strange = strangeness(images, pooled)
    return Evidence(fused[..., :height, :width], logits, strange)


def gated(
    evidence: Evidence, settings: InferenceSettings, thresholds: Tensor, labels: Tensor | None = None
) -> PatchMaps:
    """The maps, with only those tissues taking part that are present.

    Args:
        evidence: of patches, or of places.
        settings: those with which it was made.
        thresholds: gating thresholds, C, in probability.
        labels: `oracle` labels, B×C bool; None: those that the classifier predicts.
    """
    probabilities = evidence.logits.sigmoid()
    present = present_tissues(probabilities, thresholds) if labels is None else labels
    scores, normalised = evidence.maps[:, : len(thresholds)], evidence.maps[:, -len(thresholds) :]
    scores = gate_softly(scores, present) if settings.fusion == "raw" else gate(scores, present, 0.0)
    by_activation = settings.background == "activation"
    foreground = gate(normalised, present, 0.0).amax(dim=1, keepdim=True) if by_activation else None
    return PatchMaps(scores, foreground, probabilities, present)


def add_ranges(
    ranges: Ranges | None, network: Network, images: Tensor, thresholds: Tensor, labels: Tensor | None
) -> Ranges:
    """The ranges of activation maps, widened by those of some windows of an image (arguments as in `patch_maps`)."""
    out = _finite_maps(network, pad_to_stride(images))
    return widen_ranges(
        ranges, out.maps, present_tissues(out.logits.sigmoid(), thresholds) if labels is None else labels
    )


def _finite_maps(network: Network, images: Tensor) -> ClassMaps:
    """Class maps; NaN would be in no tissue, and come out as background."""
    found = network.class_maps(images)
    if not all(values.sum().isfinite() for values in (found.logits, *found.maps)):
        raise WeightsError(
            "the network gives values that are not finite (NaN or infinite) for an image, so nothing can be said about "
            "it; its weights are damaged, or too large for half precision (leave out --fast)"
        )
    return found


def as_batch(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """B×H×W×3 uint8 → B×3×H×W float in [0, 1] on the device."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 255


def pad_to_stride(images: Tensor, stride: int = ENCODER_STRIDE) -> Tensor:
    """Pad B×3×H×W at the bottom and right, by reflection as often as it takes, to multiples of `stride`."""
    if images.shape[-2] % stride == images.shape[-1] % stride == 0:
        return images
    rows, columns = (_reflected(length, -length % stride, images.device) for length in images.shape[-2:])
    return images[..., rows[:, None], columns]


def _reflected(length: int, extra: int, device: torch.device) -> Tensor:
    """Indices 0 … length + extra − 1 folded into 0 … length − 1 (the edge pixel is not repeated)."""
    index = torch.arange(length + extra, device=device) % max(1, 2 * length - 2)
    return torch.where(index < length, index, 2 * length - 2 - index)
