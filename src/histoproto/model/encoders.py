"""Encoders by name: timm's, MiT, and the default one without timm for reading."""

from __future__ import annotations

from torch import Tensor

from histoproto.errors import SettingError
from histoproto.model.atrous import phase_dilated_convolutions
from histoproto.model.encoder import RANDOM_LICENCE, Encoder
from histoproto.model.lite0 import Lite0
from histoproto.model.mit import MitEncoder
from histoproto.model.timm_encoder import TimmEncoder
from histoproto.model.weights import OFFLINE_ENCODER


class Lite0Encoder(Encoder):
    """The default encoder without weights, to be filled from a trained model: equal to timm's, read without timm."""

    def __init__(self) -> None:
        super().__init__(Lite0.channels, (0.5,) * 3, (0.5,) * 3, RANDOM_LICENCE)
        self.body = Lite0()
        phase_dilated_convolutions(self.body)

    def features(self, x: Tensor) -> list[Tensor]:
        """See `Encoder.features`."""
        maps: list[Tensor] = self.body(x)
        return maps


def build_encoder(name: str, weights: str | None = "imagenet") -> Encoder:
    """An encoder by name.

    Args:
        name: a timm model name, or `mit_b0` … `mit_b5` (SegFormer's encoder, needs the extra `mit`).
        weights: `imagenet`, the path of a local file (for MiT: or folder), or None for random weights.

    Raises:
        SettingError: there is no such encoder.
        WeightsError: the weights are not at hand or do not fit.
    """
    if ":" in name:
        raise SettingError(
            f"{name!r} can be a teacher, but no encoder: a trained model must be read without the hub it came from; "
            "name its architecture, and its file with model.weights"
        )
    if name.startswith("mit_b"):
        return MitEncoder(name, weights)
    if name == OFFLINE_ENCODER and weights is None:
        return Lite0Encoder()
    return TimmEncoder(name, weights)
