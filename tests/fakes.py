"""Stand-ins for trained things: quick, without weights, and with an answer that a test can know beforehand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histoproto.config import InferenceSettings, ModelSettings
from histoproto.model.network import ClassMaps
from histoproto.model.saving import ModelCard
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
