"""Encoders by name: timm's, MiT, the default one without timm for reading, and those of other packages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from histoproto import plugins
from histoproto.config import ModelSettings
from histoproto.documents.shapes import as_form
from histoproto.errors import SettingError, WeightsError
from histoproto.model.atrous import phase_dilated_convolutions
from histoproto.model.blueprint import Blueprint
from histoproto.model.encoder import RANDOM_LICENCE, Encoder
from histoproto.model.lite0 import Lite0
from histoproto.model.mit import MitEncoder
from histoproto.model.origin import Origin
from histoproto.model.plan import plan_encoder
from histoproto.model.timm_encoder import TimmEncoder
from histoproto.model.timm_tokens import TimmTokens
from histoproto.model.weights import OFFLINE_ENCODER, read_state_dict


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


def encoder_of(settings: ModelSettings) -> Encoder:
    """The encoder of a network: as its blueprint says, if there is one, or as its name says; see `build_encoder`."""
    if settings.blueprint is None:
        return build_encoder(settings.encoder, settings.weights, settings.encoder_arguments, settings.input_scale)
    blueprint = as_form(settings.blueprint, Blueprint, "the encoder's blueprint")
    return _build(blueprint, Path(settings.weights) if settings.weights else None)


def build_encoder(
    name: str, weights: str | None = "imagenet", arguments: Mapping[str, Any] | None = None, input_scale: float = 1.0
) -> Encoder:
    """An encoder by name.

    Args:
        name: a timm model name; `mit_b0` … `mit_b5` (SegFormer's encoder, needs the extra `mit`); one that is known
            (`histoproto encoders`) or that another package offers (see `plugins`); each also as `NAME@FILE`;
            `hf-hub:OWNER/NAME`, or `local-dir:PATH`, a folder laid out like a repository of the hub.
        weights: `imagenet` for the published ones, the path of a local file (for MiT: or folder), or None for random
            weights.
        arguments: of the architecture, as timm's `create_model` or transformers' `config.json` take them, where the
            name does not say.
        input_scale: see `Encoder`.

    Raises:
        SettingError: there is no such encoder.
        WeightsError: the weights are not at hand or do not fit.
    """
    plain, _, file = (name, "", "") if ":" in name else name.partition("@")
    given = file or weights
    encoder: Encoder | None = None
    if plain.startswith("mit_b"):
        encoder = MitEncoder(plain, given)
    elif plain == OFFLINE_ENCODER and given is None:
        encoder = Lite0Encoder()
    elif ":" not in name:
        encoder = plugged(plain, given)
    if encoder is not None:
        if arguments:
            raise SettingError(f"model.encoder_arguments are not for the encoder {plain}")
        encoder.input_scale = input_scale
        return encoder
    plan = plan_encoder(name, weights, arguments or {}, input_scale)
    encoder = _build(plan.blueprint, plan.file, plan.fetch)
    encoder.blueprint = plan.blueprint.model_copy(update={"licence": encoder.licence})
    if plain == OFFLINE_ENCODER:
        encoder.blueprint = None  # `Lite0Encoder` reads it
    if plan.file is not None:
        encoder.origin = Origin(plan.name, plan.file, plan.repository, plan.may_be_copied, encoder)
    return encoder


def _build(blueprint: Blueprint, file: Path | None, fetch: bool = False) -> Encoder:
    state = read_state_dict(file) if file else None
    try:
        encoder: Encoder
        if blueprint.library == "transformers":
            from histoproto.model.transformers_tokens import TransformersTokens

            encoder = TransformersTokens(blueprint, state)
        elif blueprint.maps == "tokens":
            encoder = TimmTokens(blueprint, state, fetch)
        else:
            encoder = TimmEncoder(blueprint, state, fetch)
    except WeightsError as error:
        raise (WeightsError(f"{file}: {error}") if file else error) from error
    if state is None and not fetch:
        encoder.licence = blueprint.licence or RANDOM_LICENCE
    encoder.blueprint, encoder.input_scale = blueprint, blueprint.input_scale
    return encoder


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
