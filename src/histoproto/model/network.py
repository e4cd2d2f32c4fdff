"""The network: encoder, prototype bank, activation maps and class logits at three scales."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from histoproto.config import ModelSettings
from histoproto.model.encoders import build_encoder
from histoproto.model.prototypes import Merge, PrototypeBank, cosine_maps, merge_prototypes, pool_maps


class Activations(NamedTuple):
    """What one pass makes, for scales 2, 3, 4 in this order."""

    cosines: tuple[Tensor, ...]
    """cos(F_s, g_s(P)): B×C×K×H_s×W_s in [−1, 1]."""
    maps: tuple[Tensor, ...]
    """A_s = tau_s · cosines: B×C×K×H_s×W_s."""
    merged: tuple[Tensor, ...]
    """M_s: class activation maps, B×C×H_s×W_s."""
    logits: tuple[Tensor, ...]
    """z_s: class logits, B×C."""
    features: Tensor
    """F_4: B×C_4×H_4×W_4."""


class ClassMaps(NamedTuple):
    """What inference needs of any network."""

    maps: tuple[Tensor, ...]
    """Class activation maps of scales 2, 3, 4: B×C×H_s×W_s, any real number."""
    logits: Tensor
    """Class logits of the image: B×C."""


class PrototypeNetwork(nn.Module):
    """Encoder and prototype bank (LPD). Takes RGB B×3×H×W in [0, 1]; normalisation is inside.

    Args:
        settings: which encoder, how many prototypes, how they are merged and pooled.
        tissues: number of tissues, C.
    """

    def __init__(self, settings: ModelSettings, tissues: int):
        super().__init__()
        self.settings = settings
        self.tissues = tissues
        self.encoder = build_encoder(settings.encoder, settings.weights)
        self.bank = PrototypeBank(tissues, settings.prototypes, settings.dimension, self.encoder.channels)

    def forward(self, x: Tensor) -> Activations:
        """All that the losses need; merged and pooled as the settings say for training."""
        features = self.encoder(x)
        cosines = tuple(cosine_maps(f, p) for f, p in zip(features, self.bank.project(), strict=True))
        maps = tuple(scale * c for scale, c in zip(self.bank.scales(), cosines, strict=True))
        merged = tuple(merge_prototypes(a, self.settings.merge) for a in maps)
        logits = tuple(pool_maps(m, self.settings.pooling) for m in merged)
        return Activations(cosines, maps, merged, logits, features[-1])

    def class_maps(self, x: Tensor) -> ClassMaps:
        """Class activation maps and logits for inference.

        The maps are merged by the softmax-weighted sum even if training took the mean (the paper's inference); the
        logits are those of scale 4, pooled as in training.
        """
        out = self(x)
        merge: Merge = "logsumexp" if self.settings.merge == "logsumexp" else "softmax"
        return ClassMaps(tuple(merge_prototypes(a, merge) for a in out.maps), out.logits[-1])

    @torch.no_grad()
    def prototype_maps(self, x: Tensor) -> Tensor:
        """Activation maps of the single prototypes at scale 4: B×C×K×H_4×W_4 (cosines times tau)."""
        maps: Tensor = self(x).maps[-1]
        return maps


def build_network(settings: ModelSettings, tissues: int) -> PrototypeNetwork:
    """The network that `settings.architecture` names, for C = `tissues`.

    Raises:
        SettingError, WeightsError: see `build_encoder`.
    """
    return PrototypeNetwork(settings, tissues)
