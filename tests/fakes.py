"""Stand-ins for trained things: quick, without weights, and with an answer that a test can know beforehand."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histoproto.config import InferenceSettings, ModelSettings
from histoproto.model.network import ClassMaps, PrototypeNetwork
from histoproto.model.saving import ModelCard, save_model
from histoproto.tissue import TissueSet

TISSUES = TissueSet.of("red", "green", "blue")


class ColourNetwork(nn.Module):
    """Finds red, green and blue: maps are 20 · (channel − 0.5) at strides 8, 16, 16; logits their maximum."""

    def class_maps(self, x: Tensor) -> ClassMaps:
        assert x.shape[-2] % 32 == 0
        assert x.shape[-1] % 32 == 0
        maps = tuple(20 * (F.avg_pool2d(x, stride) - 0.5) for stride in (8, 16, 16))
        return ClassMaps(maps, maps[-1].amax(dim=(2, 3)))

    def prototype_maps(self, x: Tensor) -> Tensor:
        maps = self.class_maps(x).maps[-1]
        return torch.stack([maps, -maps], dim=2)


def colour_card(
    patch_size: int = 64,
    mpp: float | None = None,
    inference: InferenceSettings | None = None,
    tissues: TissueSet = TISSUES,
) -> ModelCard:
    return ModelCard(
        method="lpd",
        model=ModelSettings(),
        inference=inference or InferenceSettings(background="none"),
        classes=tissues.to_dict(),
        patch_size=patch_size,
        mpp=mpp,
        thresholds=(0.5,) * len(tissues),
        calibrated_on="nothing",
        checkpoint="none",
        normalisation={"mean": [0.0] * 3, "std": [1.0] * 3},
        encoder_licence="none",
        training_data={},
    )


def tiny_run(folder: Path, mpp: float | None = None, patch_size: int = 64) -> Path:
    """A run folder with an untrained network of three tissues that loads in no time, for what other processes do."""
    settings = ModelSettings(encoder="test_efficientnet", weights=None, prototypes=2, dimension=8)
    card = colour_card(patch_size, mpp).model_copy(update={"model": settings})
    save_model(folder, PrototypeNetwork(settings, len(TISSUES)), card)
    return folder


def card_of(settings: ModelSettings, tissues: TissueSet) -> ModelCard:
    """The card of a network with these settings, patches of 64 px, 0.5 µm/px."""
    return ModelCard(
        method="lpd",
        model=settings,
        inference=InferenceSettings(),
        classes=tissues.to_dict(),
        patch_size=64,
        mpp=0.5,
        thresholds=(0.5,) * len(tissues),
        calibrated_on="nothing",
        checkpoint="last",
        normalisation={"mean": [0.5] * 3, "std": [0.5] * 3},
        encoder_licence="none",
        training_data={},
    )
