"""Vision transformers that only the package transformers has; code that a repository brings is never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from histoproto.errors import SettingError, WeightsError
from histoproto.model.blueprint import Blueprint
from histoproto.model.tokens import TokenEncoder

_NOT_ARCHITECTURE = {"auto_map", "_name_or_path", "architectures", "torch_dtype", "dtype", "transformers_version"}
_MAY_BE_MISSING = ("mask_token", "pooler")
"""Parts of names of weights that feature maps do not depend on."""


class TransformersTokens(TokenEncoder):
    """A vision transformer of the package transformers: ViT, DINOv2 with and without registers, DINOv3, …

    Args:
        blueprint: with `library="transformers"`, normalisation and depths.
        state: weights under the names of their publisher.

    Raises:
        SettingError: the package is missing, or has no such model.
        WeightsError: weights that do not fit.
    """

    def __init__(self, blueprint: Blueprint, state: Mapping[str, Tensor] | None = None):
        from transformers import AutoModel

        config = configuration(blueprint.architecture, blueprint.arguments)
        body: Any = AutoModel.from_config(config)
        if state is not None:
            kind = type(body)
            body, found = kind.from_pretrained(None, config=config, state_dict=dict(state), output_loading_info=True)
            missing = [key for key in found["missing_keys"] if not any(part in key for part in _MAY_BE_MISSING)]
            if wrong := missing + [str(key) for key in found["mismatched_keys"]]:
                raise WeightsError(
                    f"these weights do not fit the encoder {blueprint.architecture}: {len(wrong)} tensors are missing "
                    f"or have another shape, the first is {wrong[0]}"
                )
            body = body.float()
        assert blueprint.mean is not None
        assert blueprint.std is not None
        super().__init__(blueprint, config.patch_size, config.hidden_size, blueprint.mean, blueprint.std)
        self.prefix = 1 + getattr(config, "num_register_tokens", 0)
        self.norm_name = "layernorm" if hasattr(body, "layernorm") else "norm"
        self.body = body

    def tokens(self, x: Tensor) -> list[Tensor]:
        """See `TokenEncoder.tokens`."""
        more = {"interpolate_pos_encoding": True} if self.body.config.model_type == "vit" else {}
        states = self.body(x, output_hidden_states=True, **more).hidden_states
        rows, columns = (length // self.side for length in x.shape[-2:])
        normalise = getattr(self.body, self.norm_name)
        # The first state is what goes into block 0.
        kept = [normalise(states[depth + 1])[:, self.prefix :] for depth in self.depths]
        return [tokens.transpose(1, 2).unflatten(2, (rows, columns)) for tokens in kept]


def configuration(model_type: str, values: Mapping[str, Any]) -> Any:
    """The configuration of a model, of the content of a `config.json`; see `TransformersTokens` for errors.

    DINOv2 with registers was published with code of its own before transformers had it; that is what it has now.
    """
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise SettingError(
            f"an encoder of the kind {model_type} needs the package transformers; pip install 'histoproto[mit]'"
        ) from error
    if model_type == "dinov2" and values.get("num_register_tokens"):
        model_type = "dinov2_with_registers"
    kept = {name: value for name, value in values.items() if name not in _NOT_ARCHITECTURE | {"model_type"}}
    try:
        config = AutoConfig.for_model(model_type, **kept)
    except ValueError as error:
        own = " and code that comes with weights is not run" if "auto_map" in values else ""
        raise SettingError(f"the installed transformers has no model of the type {model_type!r}{own}") from error
    if not all(isinstance(getattr(config, name, None), int) for name in ("patch_size", "hidden_size")):
        raise SettingError(f"a model of the type {model_type!r} gives no tokens of one size and can be no encoder")
    return config


def described(model_type: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any], int]:
    """Type, arguments (as JSON holds them) and number of blocks of a model, of the content of a `config.json`."""
    config = configuration(model_type, values)
    arguments = config.to_diff_dict()
    kept = {name: value for name, value in arguments.items() if name not in _NOT_ARCHITECTURE | {"model_type"}}
    return config.model_type, kept, config.num_hidden_layers
