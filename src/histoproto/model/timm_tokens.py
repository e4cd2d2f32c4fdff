"""Vision transformers that timm builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from histoproto.errors import SettingError, WeightsError
from histoproto.model.blueprint import Blueprint
from histoproto.model.tokens import TokenEncoder
from histoproto.model.weights import NO_HUB, require_hub


class TimmTokens(TokenEncoder):
    """Any timm model with tokens of one size that takes images of any size: ViT, DINOv2, DINOv3, EVA, …

    Args:
        blueprint: with `maps="tokens"`.
        state: weights under the names of their publisher; what timm renames is renamed.
        fetch: take timm's published weights in place of `state`.

    Raises:
        SettingError: timm does not take these arguments.
        WeightsError: weights that do not fit.
    """

    def __init__(self, blueprint: Blueprint, state: Mapping[str, Tensor] | None = None, fetch: bool = False):
        body = _create(blueprint, state, fetch)
        config = body.pretrained_cfg
        mean, std = blueprint.mean or config["mean"], blueprint.std or config["std"]
        super().__init__(blueprint, body.patch_embed.patch_size[0], body.embed_dim, mean, std)
        if fetch:
            where = config.get("hf_hub_id") or config.get("url")
            self.licence = f"{config.get('license') or 'not stated by the publisher'} (timm, {where})"
        self.body = body

    def tokens(self, x: Tensor) -> list[Tensor]:
        """See `TokenEncoder.tokens`."""
        found: list[Tensor] = self.body.forward_intermediates(x, self.depths, norm=True, intermediates_only=True)
        return found


def count_blocks(architecture: str, arguments: Mapping[str, Any]) -> int:
    """Blocks of a timm model whose maps all have one size, and that takes images of any size; 0 for any other model.

    Raises:
        SettingError: timm does not take these arguments.
    """
    import timm

    with torch.device("meta"):  # nothing is computed, no memory is taken
        try:
            model = timm.create_model(architecture, **keywords(arguments), num_classes=0, dynamic_img_size=True)
        except (TypeError, NotImplementedError, AssertionError):
            return 0
    alike = len({scale["reduction"] for scale in model.feature_info}) == 1
    return len(model.blocks) if alike and hasattr(model, "blocks") and hasattr(model, "forward_intermediates") else 0


def keywords(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as timm takes them: layers, which JSON can only name, are looked up in `timm.layers`.

    Raises:
        SettingError: there is no such layer.
    """
    import timm.layers

    found = {name: value for name, value in arguments.items() if name not in {"num_classes", "dynamic_img_size"}}
    for name, value in found.items():
        if isinstance(value, str) and name.endswith("_layer") and name != "act_layer":  # timm looks that one up itself
            layer = getattr(timm.layers, value, None)
            if not callable(layer):
                raise SettingError(f"the encoder's argument {name}={value!r} names no layer of timm.layers")
            found[name] = layer
    return found


def _create(blueprint: Blueprint, state: Mapping[str, Tensor] | None, fetch: bool) -> Any:
    import timm

    more: dict[str, Any] = {}
    if fetch:
        require_hub(blueprint.architecture)
    if state is not None:
        head = timm.get_pretrained_cfg(blueprint.architecture).classifier or "head"
        heads = (head,) if isinstance(head, str) else head
        kept = {name: value for name, value in state.items() if name.rpartition(".")[0] not in heads}
        # With its own number of classes, timm would load what is there and leave the rest random.
        more["pretrained_cfg_overlay"] = {"state_dict": kept, "num_classes": 0, "hf_hub_id": None, "url": ""}
    try:
        return timm.create_model(
            blueprint.architecture,
            pretrained=state is not None or fetch,
            num_classes=0,
            dynamic_img_size=True,
            **keywords(blueprint.arguments),
            **more,
        )
    except (TypeError, AssertionError) as error:
        raise SettingError(f"timm cannot build {blueprint.architecture} with these arguments: {error}") from error
    except Exception as error:
        if fetch:  # the hub's library raises errors of many kinds
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise WeightsError(NO_HUB.format(name=blueprint.architecture, reason=reason)) from error
        if state is None or not isinstance(error, RuntimeError | KeyError | AttributeError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"these weights do not fit the encoder {blueprint.architecture}: {reason}") from error
