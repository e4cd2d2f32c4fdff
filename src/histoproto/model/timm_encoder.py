"""Encoders with stages that timm builds: convolutional and windowed ones, and any other with `features_only`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from histoproto.errors import SettingError, WeightsError
from histoproto.model.atrous import phase_dilated_convolutions
from histoproto.model.blueprint import Blueprint
from histoproto.model.encoder import RANDOM_LICENCE, Encoder
from histoproto.model.timm_tokens import keywords
from histoproto.model.weights import (
    NO_HUB,
    OFFLINE_ENCODER,
    OFFLINE_LICENCE,
    offline_efficientnet_lite0,
    require_hub,
)


class TimmEncoder(Encoder):
    """Any timm model with `features_only`; the last scale has stride 16 where the model allows it.

    For `tf_efficientnet_lite0`: 40, 112 and 320 channels at strides 8, 16 and 16, the pyramid of the paper's encoder.

    Args:
        blueprint: with `maps="stages"`.
        state: weights under the names of the whole model.
        fetch: take the published weights in place of `state`: for the default encoder those of its package.

    Raises:
        SettingError: timm has no such model, or it gives no three feature maps.
        WeightsError: weights that are not at hand or do not fit.
    """

    def __init__(self, blueprint: Blueprint, state: Mapping[str, Tensor] | None = None, fetch: bool = False):
        import timm

        name = blueprint.architecture
        offline = name == OFFLINE_ENCODER
        body = _first_that_builds(name, fetch and not offline, keywords(blueprint.arguments))
        info = body.feature_info
        config = timm.models.PretrainedCfg(**body.pretrained_cfg)
        licence = blueprint.licence or RANDOM_LICENCE
        if fetch and offline:
            licence = OFFLINE_LICENCE
            state = offline_efficientnet_lite0([len(stage) for stage in body.blocks])
        elif fetch:
            licence = f"{config.license or 'not stated by the publisher'} (timm, {config.hf_hub_id or config.url})"
        if state is not None:
            _load_body(body, state, name)
        super().__init__(tuple(info.channels()), blueprint.mean or config.mean, blueprint.std or config.std, licence)
        phase_dilated_convolutions(body)
        self.body = body

    def features(self, x: Tensor) -> list[Tensor]:
        """See `Encoder.features`; maps that timm gives channels-last are turned."""
        maps: list[Tensor] = self.body(x)
        return [
            f if f.shape[1] == c else f.permute(0, 3, 1, 2).contiguous()
            for f, c in zip(maps, self.channels, strict=True)
        ]


def _first_that_builds(name: str, pretrained: bool, arguments: Mapping[str, Any]) -> Any:
    """The model with the first set of options it accepts: convolutional, plain transformer, windowed, any other."""
    import timm

    options: tuple[dict[str, Any], ...] = (
        {"output_stride": 16},
        {"dynamic_img_size": True},
        {"strict_img_size": False},
        {},
    )
    if pretrained:
        require_hub(name)
    failure: Exception | None = None
    for option in options:
        build: Callable[..., Any] = timm.create_model
        try:
            return build(
                name, pretrained=pretrained, features_only=True, out_indices=(-3, -2, -1), **option, **arguments
            )
        except (TypeError, NotImplementedError, AssertionError) as error:
            failure = error  # this option is unknown to the model: try the next
        except Exception as error:
            if pretrained:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise WeightsError(NO_HUB.format(name=name, reason=reason)) from error
            failure = error
    raise SettingError(f"the timm model {name!r} gives no three feature maps ({failure}); choose another encoder")


def _load_body(body: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
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
