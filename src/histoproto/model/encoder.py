"""What every encoder offers: images in, feature maps of the last three scales out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histoproto.model.blueprint import Blueprint
from histoproto.model.origin import Origin

RANDOM_LICENCE = "none (random weights)"


class Encoder(nn.Module):
    """What every encoder offers.

    Attributes:
        channels: channels of the feature maps of scales 2, 3 and 4.
        licence: licence of the weights it was built with.
        mean, std: normalisation of RGB in [0, 1], per channel; applied inside `forward`.
        blueprint: how to build it again; None: as its name says.
        input_scale: images are enlarged this many times first, in halves, bicubically; maps are as much finer.
        origin: the file that its weights came from; None: random ones, or those of a package.
    """

    blueprint: Blueprint | None = None
    origin: Origin | None = None
    input_scale: float = 1.0

    mean: Tensor
    std: Tensor

    def __init__(self, channels: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...], licence: str):
        super().__init__()
        self.channels = channels
        self.licence = licence
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def enlarge(self, x: Tensor) -> Tensor:
        """Normalised images as `features` takes them."""
        if self.input_scale == 1:
            return x
        halves = round(2 * self.input_scale)  # in whole numbers, which an exporter can follow
        height, width = (length * halves // 2 for length in x.shape[-2:])
        return F.interpolate(x, (height, width), mode="bicubic", align_corners=False)

    def features(self, x: Tensor) -> list[Tensor]:
        """Normalised, enlarged images → feature maps of the last three scales."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps of scales 2, 3, 4, each B×C_s×H_s×W_s, of RGB images B×3×H×W in [0, 1]."""
        return self.features(self.enlarge((x - self.mean) / self.std))
