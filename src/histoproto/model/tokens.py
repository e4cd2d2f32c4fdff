"""Vision transformers as encoders: tokens of three depths as a simple pyramid."""

from __future__ import annotations

from abc import abstractmethod

import torch.nn.functional as F
from torch import Tensor

from histoproto.model.blueprint import Blueprint
from histoproto.model.encoder import Encoder


class TokenEncoder(Encoder):
    """Maps of three depths; class, register and other prefix tokens are dropped, the final normalisation is applied.

    Scales 3 and 4 are the tokens after two thirds and after all of the blocks, one cell each; scale 2 those after one
    third, upsampled bilinearly to half their stride, without parameters (the simple pyramid of Li et al., *Exploring
    plain vision transformer backbones for object detection*, ECCV 2022, whose upsampling is learnt). Images are resized
    bilinearly to `input_scale` times their size and to whole tokens: with tokens of 14 px, 256 px become 252. Positions
    are interpolated for it.

    Args:
        blueprint: gives depths, enlargement and licence.
        side: pixels of the side of a token.
        width: numbers of a token, C_s of all scales.
        mean, std: see `Encoder`.
    """

    def __init__(
        self, blueprint: Blueprint, side: int, width: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__((width,) * 3, mean, std, blueprint.licence)
        assert blueprint.depths is not None
        self.depths, self.input_scale, self.side = blueprint.depths, blueprint.input_scale, side

    @abstractmethod
    def tokens(self, x: Tensor) -> list[Tensor]:
        """B×width×(H/side)×(W/side) of each depth, of normalised images of whole tokens."""

    def enlarge(self, x: Tensor) -> Tensor:
        """See `Encoder.enlarge`; to whole tokens."""
        height, width = (whole_tokens(round(length * self.input_scale), self.side) for length in x.shape[-2:])
        always = self.input_scale != 1 or 32 % self.side  # an exporter, which gives multiples of 32, cannot ask
        if always or any(length % self.side for length in x.shape[-2:]):
            return F.interpolate(x, (height, width), mode="bilinear", align_corners=False)
        return x

    def features(self, x: Tensor) -> list[Tensor]:
        """See `Encoder.features`."""
        shallow, middle, deep = self.tokens(x)
        return [F.interpolate(shallow, scale_factor=2.0, mode="bilinear", align_corners=False), middle, deep]


def whole_tokens(length: int, side: int) -> int:
    """The nearest multiple of `side`, at least one.

    >>> whole_tokens(256, 14), whole_tokens(5, 14)
    (252, 14)
    """
    return max(side, (2 * length + side) // (2 * side) * side)
