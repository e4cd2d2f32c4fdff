"""Doubt: one minus the chance that the tissue of a place is the right one.

A map shows only tissues that are found around a place. Whether one is there is itself a guess, so that chances are not
those of the gated map: a tissue that is not found loses by how far the classifier is from finding it, and may still be
what is there. The chances are the softmax over tissues of

    (map + log sigmoid(logit − logit of the threshold)) / temperature

with the temperature (Guo et al., ICML 2017) fitted on image labels of held-out patches.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from histoproto.config import InferenceSettings
from histoproto.inference.background import label_probabilities
from histoproto.inference.gating import everywhere
from histoproto.inference.patches import Evidence
from histoproto.model.saving import ModelCard

DOUBTFUL = 0.6
"""A place is doubtful where the chance of its tissue is lower."""
STRANGE_FROM = 0.5
"""An image is strange if more than this share of its tissue is."""


def tissue_chances(
    evidence: Evidence,
    settings: InferenceSettings,
    thresholds: Tensor,
    temperature: float = 1.0,
    labels: Tensor | None = None,
) -> Tensor:
    """The chance of each tissue at each place, given that there is tissue.

    Args:
        evidence: of patches, or of places.
        settings: those with which it was made.
        thresholds: gating thresholds, C, in probability.
        temperature: above 0; 1: as the maps are.
        labels: tissues that are known to be there, B×C bool; all others have no chance.

    Returns:
        B×C×H×W in [0, 1], summing to 1.
    """
    return softened(evidence, settings, thresholds, labels).div(temperature).softmax(dim=1)


def softened(
    evidence: Evidence, settings: InferenceSettings, thresholds: Tensor, labels: Tensor | None = None
) -> Tensor:
    """Log chances up to a constant, before the temperature: B×C×H×W (arguments as in `tissue_chances`)."""
    maps = evidence.maps[:, : len(thresholds)]
    if settings.fusion != "raw":  # shares of one, not logits
        everything = torch.ones(maps.shape[:2], dtype=torch.bool, device=maps.device)
        maps = label_probabilities(maps, everything, logits=False).clamp(min=1e-6).log()
    if labels is not None:
        return maps.masked_fill(~everywhere(labels), torch.finfo(maps.dtype).min)
    places = thresholds.to(maps).clamp(1e-6, 1 - 1e-6).logit().view(-1, *[1] * (evidence.logits.ndim - 2))
    found = F.logsigmoid(evidence.logits.to(maps) - places)
    return maps + (found[:, :, None, None] if found.ndim == 2 else found)


def doubt_of(chances: Tensor, labels: Tensor) -> Tensor:
    """One minus the chance of the label, B×H×W in [0, 1], of chances B×C×H×W and labels B×H×W; 0 where the label is no
    tissue (C or more)."""
    tissue = labels < chances.shape[1]
    own = chances.gather(1, labels.long().clamp(max=chances.shape[1] - 1)[:, None])[:, 0]
    return torch.where(tissue, 1 - own, 0)


def temperature_of(card: ModelCard, settings: InferenceSettings) -> tuple[float, str]:
    """The temperature to use, and a sentence if chances are not calibrated (else nothing)."""
    if card.temperature is None and card.training_data.get("held_out") == 0:
        return 1.0, (
            "the model's chances are not calibrated, for its training held out no patches (of few slides it cannot), "
            "so what is doubtful is a rough guess"
        )
    if card.temperature is None:
        return 1.0, "the model's chances were never calibrated; `histoproto calibrate` does it, with its training data"
    if settings.fusion != card.inference.fusion:
        return 1.0, f"chances were calibrated for {card.inference.fusion} maps, not for {settings.fusion} ones"
    return card.temperature.value, ""


def notes_on_trust(card: ModelCard, settings: InferenceSettings, known: bool) -> list[str]:
    """Sentences on what a model cannot tell of its own doubt, and of images that are unlike its training patches."""
    notes = [sentence for sentence in (temperature_of(card, settings)[1],) if sentence]
    if not known:
        notes.append("nothing is known of how the training patches look, so strange images are not told")
    return notes
