"""Whether saved weights are those of the network that a card describes, before any memory is taken for it.

A card of a few lines can name a network larger than any memory. So it is built without memory first (torch's device
`meta`), and what its tensors would be is compared with what the file says of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch.overrides import TorchFunctionMode

from histoproto.config import ModelSettings
from histoproto.errors import HistoProtoError, WeightsError
from histoproto.model.network import build_network
from histoproto.model.weights import read_state_dict

ENCODER_PREFIX = "encoder."
"""How the names of the encoder's weights begin."""

_SKIPPED = frozenset({"normal_", "uniform_", "random_", "bernoulli_", "normalize"})
_DRAWN = frozenset({"randn", "rand"})
Shapes = dict[str, tuple[int, ...]]


def refuse_misfit(settings: ModelSettings, tissues: int, file: Path, encoder_file: Path | None = None) -> None:
    """Compare a network with the weights that it is to be filled with.

    Args:
        settings: of the network.
        tissues: their number.
        file: the weights.
        encoder_file: where those of the encoder are, if not in `file`.

    Raises:
        WeightsError: the file cannot be read, or is of another network.
    """
    expected = _shapes_of(settings, tissues)
    if expected is None:
        return
    if encoder_file is not None:
        elsewhere = [shape for name, shape in expected.items() if name.startswith(ENCODER_PREFIX)]
        if sum(map(_count, elsewhere)) > encoder_file.stat().st_size:
            raise WeightsError(f"{encoder_file} is too small for the encoder that the model card describes")
        expected = {name: shape for name, shape in expected.items() if not name.startswith(ENCODER_PREFIX)}
    found = _shapes_in(file)
    if wrong := [name for name in {**expected, **found} if found.get(name) != expected.get(name)]:
        raise WeightsError(
            f"{file} does not fit model.json: {len(wrong)} tensors are missing, unknown or of another shape (the first "
            f"is {wrong[0]}); it is of another model or of an earlier version, so train again"
        )


class _Unfilled(TorchFunctionMode):
    """Nothing is drawn or normalised: on tensors without memory that imports half of torch, and takes seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _SKIPPED:
            return args[0] if args else kwargs["tensor"]
        return (torch.empty if name in _DRAWN else func)(*args, **kwargs)


def _shapes_of(settings: ModelSettings, tissues: int) -> Shapes | None:
    """None where an encoder, as of another package, cannot be built without memory."""
    try:
        with torch.device("meta"), _Unfilled():
            network = build_network(settings.model_copy(update={"weights": None}), tissues)
    except HistoProtoError:
        raise
    except Exception:
        return None
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def _shapes_in(file: Path) -> Shapes:
    try:
        with safe_open(file, "pt") as content:
            return {name: tuple(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return {name: tuple(value.shape) for name, value in read_state_dict(file).items()}  # which says what is wrong


def _count(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
