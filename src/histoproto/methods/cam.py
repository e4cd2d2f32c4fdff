"""CAM: a linear classifier on globally averaged features, and its class activation maps (Zhou et al., CVPR 2016).

Grad-CAM (Selvaraju et al., ICCV 2017) of such a network is the same map up to a constant and a positive factor, so it
has no file of its own; `tests/test_methods.py` shows it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from histoproto.config import Settings
from histoproto.data.dataset import Sample
from histoproto.losses.classification import balancing_weights, classification_loss
from histoproto.methods.base import Method
from histoproto.model.network import build_network


class CAM(Method):
    """Classification loss alone, on the last scale."""

    architecture = "linear"
    preset: ClassVar = {"model": {"pooling": "mean"}}
    balance: Tensor

    def __init__(self, settings: Settings, frequency: Tensor):
        super().__init__(settings, frequency)
        self.network = build_network(settings.model, len(frequency))
        weights = balancing_weights(frequency) if settings.loss.balance else torch.ones(2, len(frequency))
        self.register_buffer("balance", weights, persistent=False)

    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """See `Method.losses`."""
        logits = self.network.class_maps(batch["image"]).logits
        loss = classification_loss((logits,), batch["labels"], (1.0,), self.balance)
        return {"classification": loss, "total": loss}
