"""What stands between a frozen encoder and the head that learns on it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_DEVIATION = 1e-3
"""Channels that vary less than this count as varying this much: one that is always 0 stays 0."""


class Neck(nn.Module):
    """Each channel standardised, then a residual 1×1 adapter per scale: z + A z + b with z = (f − mean) / deviation.

    Channels of a frozen encoder differ in size by orders of magnitude, so that a few would decide every cosine. The
    adapters start at zero. All of it is linear: one affine map of the features.

    Args:
        channels: C_s of each scale.
    """

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        self.adapters = nn.ModuleList(nn.Conv2d(width, width, 1) for width in channels)
        for adapter in self.adapters:
            nn.init.zeros_(adapter.weight)  # type: ignore[arg-type]
            nn.init.zeros_(adapter.bias)  # type: ignore[arg-type]
        self.means = nn.ParameterList(nn.Parameter(torch.zeros(1, width, 1, 1), False) for width in channels)
        self.deviations = nn.ParameterList(nn.Parameter(torch.ones(1, width, 1, 1), False) for width in channels)

    @torch.no_grad()
    def standardise(self, means: Sequence[Tensor], deviations: Sequence[Tensor]) -> None:
        """Set mean and standard deviation of each channel, C_s per scale."""
        for scale, (mean, deviation) in enumerate(zip(means, deviations, strict=True)):
            self.means[scale].copy_(mean.view(1, -1, 1, 1))
            self.deviations[scale].copy_(deviation.clamp(min=LEAST_DEVIATION).view(1, -1, 1, 1))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """B×C_s×H_s×W_s per scale → the same sizes."""
        parts = zip(features, self.adapters, self.means, self.deviations, strict=True)
        return [self._adapt(*part) for part in parts]

    @staticmethod
    def _adapt(features: Tensor, adapter: nn.Module, mean: Tensor, deviation: Tensor) -> Tensor:
        """Everything in one convolution, whose weights are small beside the features."""
        weight, bias = adapter.weight, adapter.bias
        assert isinstance(weight, Tensor)
        assert isinstance(bias, Tensor)
        own = torch.eye(len(weight), device=weight.device, dtype=weight.dtype)[:, :, None, None]
        weight = (own + weight) / deviation
        return F.conv2d(features, weight, bias - (weight * mean).sum(dim=(1, 2, 3)))
