"""From what is known of each pixel of an image to its label, and how doubtful that is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histoproto.config import InferenceSettings
from histoproto.inference.background import glass_mask, label_probabilities
from histoproto.inference.crf import dense_crf
from histoproto.inference.doubt import doubt_of, temperature_of, tissue_chances
from histoproto.inference.gating import strongest
from histoproto.inference.inputs import Pixels
from histoproto.inference.large import windowed_crf
from histoproto.inference.patches import Evidence, PatchMaps, gated
from histoproto.inference.windows import window_grid
from histoproto.model.saving import ModelCard


class Decided(NamedTuple):
    """What was decided of B images of one size."""

    labels: Pixels
    """B×H×W."""
    maps: PatchMaps
    doubt: NDArray[np.float32] | None
    """B×H×W in [0, 1]: one minus the calibrated chance of the label; where it was asked for, or is needed."""
    uncalibrated: NDArray[np.float32] | None
    """The same by the gated maps as they are."""


def decide(
    evidence: Evidence,
    images: Pixels,
    settings: InferenceSettings,
    card: ModelCard,
    labels: Tensor | None = None,
    device: torch.device | str = "cpu",
    doubt: bool = False,
) -> Decided:
    """The labels of images.

    Args:
        evidence: at full resolution; by place, of one image, or by patch.
        images: B×H×W×3.
        settings: those with which it was made.
        card: of the model.
        labels: tissues that are known to be there, B×C bool.
        device: for the CRF.
        doubt: also say how doubtful labels are.
    """
    thresholds = torch.tensor(card.thresholds, device=evidence.maps.device)
    labels, tissues = None if labels is None else labels.to(evidence.maps.device), card.tissues
    maps = gated(evidence, settings, thresholds, labels)
    if settings.fusion == "raw" and maps.foreground is None and not settings.crf:
        chances = maps.scores  # a softmax would not change which is the highest
    else:
        chances = _gated_chances(maps, settings)
    if settings.crf:
        chances = _refined(images, chances, card.patch_size if maps.probabilities.ndim == 4 else None, device)
    decided = strongest(chances)
    if maps.foreground is None:  # nothing is allowed, so nothing is there
        decided[~maps.present.any(dim=1)] = tissues.background_index
    if settings.background == "glass":
        decided[torch.from_numpy(glass_mask(images)).to(decided.device)] = tissues.background_index
    doubts = plain = None
    if doubt or settings.abstain:
        own = tissue_chances(evidence, settings, thresholds, temperature_of(card, settings)[0], labels)
        found = doubt_of(own, decided.to(own.device))
        doubts = found.float().cpu().numpy()
        if doubt:
            chances = _gated_chances(maps, settings)[:, : len(tissues)]
            plain = doubt_of(chances, decided.to(chances.device)).float().cpu().numpy()
        decided[(1 - found < settings.abstain).to(decided.device)] = tissues.uncertain_index
    return Decided(decided.cpu().numpy(), maps, doubts, plain)


def _gated_chances(maps: PatchMaps, settings: InferenceSettings) -> Tensor:
    raw = settings.fusion == "raw"
    return label_probabilities(maps.scores, maps.present, logits=raw, foreground=maps.foreground)


def _refined(images: Pixels, chances: Tensor, window: int | None, device: torch.device | str) -> Tensor:
    """The dense CRF, in windows of that side or in one piece."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    if window is None:
        refined: Tensor = dense_crf(pixels.to(device), chances)
        return refined
    windows = window_grid(images.shape[1], images.shape[2], window, max(1, window // 2))
    return windowed_crf(pixels, chances, windows, torch.device(device))
