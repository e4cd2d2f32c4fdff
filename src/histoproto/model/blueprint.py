"""All that is needed to build an encoder without the hub, file or folder that it came from."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from histoproto.config import Enlargement

Triple = tuple[float, float, float]
MOST_LAYERS, LARGEST_SIDE = 1000, 1_000_000
_LAYERS = re.compile("depth|layers|blocks|stages")


class Blueprint(BaseModel):
    """How an encoder is built; weights are another matter. It stands in `model.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    library: Literal["timm", "transformers"]
    architecture: str
    """The name that timm knows it by, or transformers' `model_type`."""
    arguments: dict[str, Any] = {}
    """What timm's `create_model`, or the configuration class of transformers, takes beyond that name."""
    maps: Literal["stages", "tokens"]
    """Feature maps are those of the last three stages, or tokens of three depths (`TokenEncoder`)."""
    depths: tuple[int, int, int] | None = None
    """Of `tokens`: the blocks, counted from 0, after which they are taken."""
    input_scale: Enlargement = 1.0
    """Images are enlarged this many times before the encoder sees them."""
    mean: Triple | None = None
    std: Triple | None = None
    """Normalisation of RGB in [0, 1]; None: as timm has it for the architecture."""
    licence: str = ""
    """Of the weights it was drawn up for."""

    @field_validator("arguments")
    @classmethod
    def _bounded(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Refuse what would take hours to build: each layer is made one by one."""
        for name, value in arguments.items():
            numbers = [one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, int)]
            most = MOST_LAYERS if _LAYERS.search(name) else LARGEST_SIDE
            if len(numbers) > MOST_LAYERS or sum(map(abs, numbers)) > most:
                raise ValueError(f"{name} is larger than that of any encoder")
        return arguments


def three_depths(blocks: int) -> tuple[int, int, int]:
    """The blocks, counted from 0, at the end of each third of a transformer.

    >>> three_depths(24)
    (7, 15, 23)
    """
    first, second = (max(1, round(part * blocks / 3)) for part in (1, 2))
    return first - 1, second - 1, blocks - 1
