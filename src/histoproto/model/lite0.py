"""EfficientNet-Lite0, the default encoder, without timm: a trained model is read in half the time.

timm loads torchvision and with it torch's compiler, 2.5 s of a core before the first patch, and none of the three can
be told not to. Training does not mind and takes everything from timm; what is only read from a file is built here,
with timm's names for its parameters and the same numbers to the last bit (a test).

Source: Tan and Le, EfficientNet, 2019; the lite variant of its repository (no squeeze-and-excitation, ReLU6).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class Stage(NamedTuple):
    """Blocks of one width; `stride` and `dilation` are as in timm with `output_stride=16`."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int
    dilation: int = 1


STEM = 32
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 1, 6, 192, 2),  # its stride of 2 became the dilation of all that follows
    Stage(1, 3, 1, 6, 320, 2),
)
SCALES = (2, 4, 6)
"""Stages whose outputs are the feature maps."""


class SameConv2d(nn.Conv2d):
    """A strided convolution with TensorFlow's "same" padding, whose amount depends on the size of the image."""

    def forward(self, input: Tensor) -> Tensor:
        """B×C×H×W → B×C'×⌈H/stride⌉×⌈W/stride⌉."""
        sides: list[int] = []
        for size, kernel, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(input, sides))


class Normalisation(nn.BatchNorm2d):
    """Batch normalisation that carries the activation after it, as timm's do."""

    def __init__(self, channels: int, activation: bool = True):
        super().__init__(channels, eps=1e-3)  # TensorFlow's
        self.act = nn.ReLU6(inplace=True) if activation else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:
        """B×C×H×W → the same size."""
        activated: Tensor = self.act(super().forward(input))
        return activated


class Block(nn.Sequential):
    """Expansion (unless the factor is 1), depthwise convolution, projection; added to its input where sizes agree."""

    def __init__(self, inputs: int, stage: Stage, stride: int, dilation: int):
        width = inputs * stage.expansion
        depthwise = _depthwise(width, stage.kernel, stride, dilation)
        if stage.expansion == 1:
            layers = [("conv_dw", depthwise), ("bn1", Normalisation(width))]
            last = ("conv_pw", "bn2")
        else:
            layers = [("conv_pw", nn.Conv2d(inputs, width, 1, bias=False)), ("bn1", Normalisation(width))]
            layers += [("conv_dw", depthwise), ("bn2", Normalisation(width))]
            last = ("conv_pwl", "bn3")
        layers += [(last[0], nn.Conv2d(width, stage.channels, 1, bias=False))]
        layers += [(last[1], Normalisation(stage.channels, activation=False))]
        super().__init__(OrderedDict(layers))
        self.shortcut = stride == 1 and inputs == stage.channels

    def forward(self, input: Tensor) -> Tensor:
        """B×C×H×W → B×C'×H'×W'."""
        output: Tensor = super().forward(input)
        return output + input if self.shortcut else output


class Lite0(nn.Module):
    """Feature maps of EfficientNet-Lite0 at strides 8, 16 and 16: 40, 112 and 320 channels."""

    channels = tuple(STAGES[stage].channels for stage in SCALES)

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv2d(3, STEM, 3, stride=2, bias=False)
        self.bn1 = Normalisation(STEM)
        self.blocks = nn.Sequential()
        channels, dilation = STEM, 1
        for stage in STAGES:
            # The first block has the stage's stride; where that became a dilation, it is the blocks after it that skip.
            blocks = [Block(channels, stage, stage.stride, dilation)]
            channels, dilation = stage.channels, stage.dilation
            blocks += [Block(channels, stage, 1, dilation) for _ in range(stage.blocks - 1)]
            self.blocks.append(nn.Sequential(*blocks))
        for module in self.modules():  # for training from random weights: as in TensorFlow and timm
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised RGB B×3×H×W → the maps, finest first."""
        x = self.bn1(self.conv_stem(images))
        maps = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in SCALES:
                maps.append(x)
        return maps


def _depthwise(channels: int, kernel: int, stride: int, dilation: int) -> nn.Conv2d:
    if stride > 1:
        return SameConv2d(channels, channels, kernel, stride=stride, groups=channels, bias=False)
    padding = dilation * (kernel // 2)
    return nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=False)
