"""Encoders by name: timm's, MiT, the default one without timm for reading, and those of other packages."""

from __future__ import annotations

from torch import Tensor

from histoproto import plugins
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
        name: a timm model name, `mit_b0` … `mit_b5` (SegFormer's encoder, needs the extra `mit`), or one that another
            package offers (see `plugins`).
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
    return plugged(name, weights) or TimmEncoder(name, weights)


def plugged(name: str, weights: str | None, kind: plugins.Kind = "encoder") -> Encoder | None:
    """An encoder, or the encoder of a teacher, that another package offers under a name that timm does not have.

    What is offered is called with `weights` and gives an `Encoder`.

    Raises:
        SettingError: the package is broken.
    """
    if name not in plugins.offered(kind):
        return None
    import timm  # late, as in `TimmEncoder`

    if timm.is_model(name):
        plugins.warn_if_hidden(kind, name)
        return None
    build = plugins.find(kind, name)
    if not callable(build):
        raise plugins.broken(kind, name, "cannot be called; it must take weights and give an Encoder")
    encoder = plugins.sound(kind, name, lambda: build(weights))
    if not isinstance(encoder, Encoder):
        raise plugins.broken(kind, name, f"gives a {type(encoder).__name__} in place of a {Encoder.__module__}.Encoder")
    return encoder
