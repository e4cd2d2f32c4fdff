"""Teachers: frozen image encoders that tell the mask refiner what two pieces of tissue have in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from histoproto.errors import WeightsError
from histoproto.model.encoder import Encoder
from histoproto.model.encoders import build_encoder, plugged
from histoproto.model.weights import OFFLINE_ENCODER


class Teacher(nn.Module):
    """A frozen encoder with its published weights, always in evaluation mode.

    Its dense map is the last feature map, its embedding the spatial mean of it; both of size `dimension`, which the
    prototypes must share.

    Args:
        spec: an encoder with its published weights, see `build_encoder`; or `NAME`, `NAME@PATH` of a teacher that
            another package offers.

    Raises:
        SettingError, WeightsError: see `build_encoder`.
    """

    def __init__(self, spec: str):
        super().__init__()
        self.encoder = _build(spec).requires_grad_(False).eval()
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


def _build(spec: str) -> Encoder:
    name, _, path = spec.partition("@")
    if other := plugged(name, path or "imagenet", "teacher"):
        return other
    try:
        return build_encoder(spec)
    except WeightsError as error:
        if path and ":" not in spec:
            raise
        reason = (str(error.__cause__ or error).splitlines() or [""])[0]  # without the remedies of an encoder
        raise WeightsError(
            f"the teacher {spec} has no weights here ({reason}); give a local file with --set loss.teacher=NAME@PATH, "
            f"or use {OFFLINE_ENCODER}, whose weights are installed, or none with --set loss.similarity=0"
        ) from error
