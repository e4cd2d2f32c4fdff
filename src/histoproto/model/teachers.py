"""Teachers: frozen image encoders that tell the mask refiner what two pieces of tissue have in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from histoproto.model.encoders import build_encoder


class Teacher(nn.Module):
    """A frozen encoder with its published weights, always in evaluation mode.

    Its dense map is the last feature map, its embedding the spatial mean of it; both of size `dimension`, which the
    prototypes must share.

    Args:
        spec: `NAME` of an encoder (see `build_encoder`), or `NAME@PATH` with a local weights file.
    """

    def __init__(self, spec: str):
        super().__init__()
        name, _, path = spec.partition("@")
        self.encoder = build_encoder(name, path or "imagenet").requires_grad_(False).eval()
        self.dimension = self.encoder.channels[-1]

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode, whatever the network around it does."""
        return super().train(False)

    @torch.no_grad()
    def dense(self, images: Tensor) -> Tensor:
        """Dense features B×D×h×w of RGB B×3×H×W in [0, 1], without gradient."""
        features: Tensor = self.encoder(images)[-1]
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings B×D, differentiable with respect to the images."""
        embeddings: Tensor = self.encoder(images)[-1].mean(dim=(2, 3))
        return embeddings

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Empty: a frozen teacher has nothing to save with a checkpoint."""
        return {}
