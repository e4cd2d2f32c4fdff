"""The paper's encoder: MiT-B0 … B5 (SegFormer, Xie et al., NeurIPS 2021) with strides (4, 2, 2, 1).

Built from `transformers`' Apache-2.0 implementation. The published *weights* are for non-commercial use; `licence` says
so and it is written into `model.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from histoproto import hub
from histoproto.errors import SettingError, WeightsError
from histoproto.model.encoder import RANDOM_LICENCE, Encoder
from histoproto.model.weights import MIT_LICENCE, NO_HUB, read_state_dict

_DEPTHS = {
    "mit_b0": (2, 2, 2, 2),
    "mit_b1": (2, 2, 2, 2),
    "mit_b2": (3, 4, 6, 3),
    "mit_b3": (3, 4, 18, 3),
    "mit_b4": (3, 8, 27, 3),
    "mit_b5": (3, 6, 40, 3),
}
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class MitEncoder(Encoder):
    """MiT with a last stage at stride 16: maps of 28, 14 and 14 px for 224 px input; B1: 128, 320, 512 channels."""

    def __init__(self, name: str, weights: str | None):
        if name not in _DEPTHS:
            raise SettingError(f"there is no encoder {name!r}; MiT comes as {', '.join(_DEPTHS)}")
        try:
            from transformers import SegformerConfig, SegformerModel
        except ImportError as error:
            raise SettingError(f"{name} needs the package transformers; pip install 'histoproto[mit]'") from error
        width = 32 if name == "mit_b0" else 64
        sizes = (width, 2 * width, 5 * width, 8 * width)
        config = SegformerConfig(depths=list(_DEPTHS[name]), hidden_sizes=list(sizes), strides=[4, 2, 2, 1])
        body: Any = SegformerModel(config)
        licence = RANDOM_LICENCE
        if weights == "imagenet":
            licence = MIT_LICENCE
            repository = f"nvidia/{name.replace('_', '-')}"
            try:
                hub.require(repository)
                body = SegformerModel.from_pretrained(repository, config=config)
            except Exception as error:  # transformers raises OSError, requests' and its own errors alike
                raise WeightsError(NO_HUB.format(name=name, reason=str(error).splitlines()[0])) from error
        elif weights is not None:
            licence = MIT_LICENCE
            _load(body, Path(weights))
        super().__init__(sizes[1:], _IMAGENET_MEAN, _IMAGENET_STD, licence)
        self.body = body

    def features(self, x: Tensor) -> list[Tensor]:
        """See `Encoder.features`."""
        return list(self.body(x, output_hidden_states=True).hidden_states[1:])


def _load(body: Any, path: Path) -> None:
    if path.is_dir():
        found = [path / name for name in ("model.safetensors", "pytorch_model.bin") if (path / name).is_file()]
        if not found:
            raise WeightsError(f"{path} holds neither model.safetensors nor pytorch_model.bin")
        path = found[0]
    state = {key.removeprefix("segformer."): value for key, value in read_state_dict(path).items()}
    own = body.state_dict()
    missing = [key for key in own if key not in state or state[key].shape != own[key].shape]
    if missing:
        raise WeightsError(f"{path} does not fit the encoder: {missing[0]!r} is missing or has another shape")
    body.load_state_dict({key: state[key] for key in own})
