"""Encoders: images in, feature maps of the last three scales out. One small protocol for timm and MiT alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from histoproto import hub
from histoproto.errors import SettingError, WeightsError
from histoproto.model.atrous import phase_dilated_convolutions
from histoproto.model.lite0 import Lite0
from histoproto.model.weights import (
    NO_HUB,
    OFFLINE_ENCODER,
    OFFLINE_LICENCE,
    offline_efficientnet_lite0,
    read_state_dict,
)

RANDOM_LICENCE = "none (random weights)"


class Encoder(nn.Module):
    """What every encoder offers.

    Attributes:
        channels: channels of the feature maps of scales 2, 3 and 4.
        licence: licence of the weights it was built with.
        mean, std: normalisation of RGB in [0, 1], per channel; applied inside `forward`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...], licence: str):
        super().__init__()
        self.channels = channels
        self.licence = licence
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def features(self, x: Tensor) -> list[Tensor]:
        """Normalised images → feature maps of the last three scales."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps of scales 2, 3, 4, each B×C_s×H_s×W_s, of RGB images B×3×H×W in [0, 1]."""
        return self.features((x - self.mean) / self.std)


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


class TimmEncoder(Encoder):
    """Any timm model with `features_only`; the last scale has stride 16 where the model allows it.

    For `tf_efficientnet_lite0`: 40, 112 and 320 channels at strides 8, 16 and 16, the pyramid of the paper's encoder.
    A name with a source (`hf-hub:OWNER/NAME`, `local-dir:PATH`) brings its own normalisation and weights.
    """

    def __init__(self, name: str, weights: str | None):
        import timm  # two seconds, which `Lite0Encoder` and a model exported to ONNX need not wait for

        if ":" not in name and not timm.is_model(name):
            close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "those of timm.list_models()"
            raise SettingError(f"there is no encoder {name!r}; there are {close}, and mit_b0 … mit_b5")
        from_hub = weights == "imagenet" and name != OFFLINE_ENCODER
        body = _first_that_builds(name, from_hub)
        info = body.feature_info
        config = timm.models.PretrainedCfg(**body.pretrained_cfg)
        licence = RANDOM_LICENCE
        if weights == "imagenet":
            licence = f"{config.license or 'not stated by the publisher'} (timm, {config.hf_hub_id or config.url})"
            if name == OFFLINE_ENCODER:
                licence = OFFLINE_LICENCE
                counts = [len(stage) for stage in body.blocks]
                _load_body(body, offline_efficientnet_lite0(counts), name)
        elif weights is not None:
            licence = f"that of the file {Path(weights).name}"
            _load_body(body, read_state_dict(Path(weights)), weights)
        super().__init__(tuple(info.channels()), config.mean, config.std, licence)
        phase_dilated_convolutions(body)
        self.body = body

    def features(self, x: Tensor) -> list[Tensor]:
        """See `Encoder.features`; maps that timm gives channels-last are turned."""
        maps: list[Tensor] = self.body(x)
        return [
            f if f.shape[1] == c else f.permute(0, 3, 1, 2).contiguous()
            for f, c in zip(maps, self.channels, strict=True)
        ]


def _first_that_builds(name: str, pretrained: bool) -> Any:
    """The model with the first set of options it accepts: convolutional, plain transformer, windowed, any other."""
    import timm

    options: tuple[dict[str, Any], ...] = (
        {"output_stride": 16},
        {"dynamic_img_size": True},
        {"strict_img_size": False},
        {},
    )
    if pretrained:
        _require_hub(name)
    failure: Exception | None = None
    for option in options:
        build: Callable[..., Any] = timm.create_model
        try:
            return build(name, pretrained=pretrained, features_only=True, out_indices=(-3, -2, -1), **option)
        except (TypeError, NotImplementedError, AssertionError) as error:
            failure = error  # this option is unknown to the model: try the next
        except Exception as error:
            if pretrained:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise WeightsError(NO_HUB.format(name=name, reason=reason)) from error
            failure = error
    raise SettingError(f"the timm model {name!r} gives no three feature maps ({failure}); choose another encoder")


def _require_hub(name: str) -> None:
    import timm

    source, _, repository = name.rpartition(":")
    if not source:
        config = timm.get_pretrained_cfg(name)
        repository = config.hf_hub_id if config else ""
    if repository and source in {"", "hf-hub", "hf_hub"}:
        try:
            hub.require(repository)
        except ConnectionError as error:
            raise WeightsError(NO_HUB.format(name=name, reason=error)) from error


def _load_body(body: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load what the body has; a file with a classifier on top is fine, one that lacks part of the body is not.

    timm renames when it takes a model apart for its features: `blocks.0` becomes `model.blocks.0`, `stages.0` becomes
    `stages_0`. Files have the names of the whole model.
    """

    def plain(key: str) -> str:
        return key.removeprefix("model.").replace(".", "_")

    own, named = body.state_dict(), {plain(key): value for key, value in state.items()}
    fitting = {
        key: named[plain(key)]
        for key, value in own.items()
        if plain(key) in named and named[plain(key)].shape == value.shape
    }
    missing = [key for key in own if key not in fitting and not key.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError(
            f"{source} does not fit the encoder: {len(missing)} of {len(own)} tensors are missing or have another "
            f"shape, the first is {missing[0]!r}"
        )
    body.load_state_dict(fitting, strict=False)


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
        from histoproto.model.mit import MitEncoder

        return MitEncoder(name, weights)
    if name == OFFLINE_ENCODER and weights is None:
        return Lite0Encoder()
    return TimmEncoder(name, weights)
