"""A saved model: what is refused when it is written and when it is read, and that the reason is named."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fakes import TISSUES, ColourNetwork, card_of, colour_card, tiny_run
from histoproto.config import InferenceSettings, ModelSettings
from histoproto.errors import DocumentError, HistoProtoError, WeightsError
from histoproto.inference.segmenter import Segmenter
from histoproto.model.encoders import build_encoder
from histoproto.model.network import ClassMaps, PrototypeNetwork
from histoproto.model.saving import load_card, load_model, save_model

SETTINGS = ModelSettings(encoder="test_efficientnet", weights=None, prototypes=2, dimension=8)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path: Path, value: float) -> None:
    network = PrototypeNetwork(SETTINGS, len(TISSUES))
    with torch.no_grad():
        network.bank.prototypes[0, 0, 0] = value
    card = colour_card().model_copy(update={"model": SETTINGS})
    with pytest.raises(WeightsError, match=r"not finite.*bank\.prototypes"):
        save_model(tmp_path / "run", network, card)
    assert not (tmp_path / "run").exists()
    run = tiny_run(tmp_path / "other")
    save_file(load_file(run / "model.safetensors") | {"bank.prototypes": network.bank.prototypes.data}, run / "x")
    (run / "x").replace(run / "model.safetensors")
    with pytest.raises(WeightsError, match=r"model\.safetensors: 1 of \d+ tensors hold values that are not finite"):
        load_model(run)


@pytest.mark.parametrize(
    ("thresholds", "reason"),
    [([0.5, 0.5], "2 thresholds for 3 tissues"), ([0.5, 0.5, 1.5], "found 1.5"), ([0.5, float("nan"), 0.5], "NaN")],
)
def test_thresholds_of_another_number_or_range_are_refused(
    tmp_path: Path, thresholds: list[float], reason: str
) -> None:
    run = tiny_run(tmp_path / "run")
    card = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(card | {"thresholds": thresholds}))
    with pytest.raises(DocumentError, match=rf"model\.json.*{reason}"):
        load_card(run)


class Broken(ColourNetwork):
    """Gives one value that is not finite, in the finest map or among the logits."""

    def __init__(self, value: float, place: str):
        super().__init__()
        self.value, self.place = value, place

    def class_maps(self, x: Tensor) -> ClassMaps:
        found = super().class_maps(x)
        (found.maps[0][0, 0, 0] if self.place == "map" else found.logits[0])[0] = self.value
        return found


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", ["map", "logits"])
@pytest.mark.parametrize("side", [64, 160])
@pytest.mark.parametrize("fusion", ["raw", "minmax"])
def test_predictions_that_are_not_finite_are_an_error_and_no_background(
    value: float, place: str, side: int, fusion: str
) -> None:
    segmenter = Segmenter(Broken(value, place), colour_card(), device="cpu")  # type: ignore[arg-type]
    settings = InferenceSettings.model_validate({"background": "none", "fusion": fusion})
    with pytest.raises(WeightsError, match="not finite"):
        segmenter.segment(np.full((side, side, 3), 200, np.uint8), settings=settings)


AS_NOBODY = """
import os, sys
from pathlib import Path
from histoproto.errors import HistoProtoError
from histoproto.model.saving import load_card
from histoproto.model.weights import read_state_dict
if os.geteuid() == 0:  # root may read anything
    os.setgid(65534)
    os.setuid(65534)
for read, path in ((load_card, Path(sys.argv[1])), (read_state_dict, Path(sys.argv[1]) / "model.safetensors")):
    try:
        read(path)
    except HistoProtoError as error:
        print(error)
"""


def test_what_may_not_be_read_is_named_so() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest shuts the folder of all its tests to others when it starts
        Path(name).chmod(0o755)
        run = tiny_run(Path(name) / "run")
        for file in ("model.json", "model.safetensors"):
            (run / file).chmod(0)
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, run], capture_output=True, text=True, check=True)
        card, weights = done.stdout.splitlines()
        assert card == f"{run / 'model.json'} cannot be read: Permission denied"
        assert weights == f"{run / 'model.safetensors'} cannot be read: Permission denied"


def test_a_network_larger_than_its_weights_is_refused_before_it_is_built(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "run")
    card = json.loads((run / "model.json").read_text())
    giant = {"library": "timm", "architecture": "vit_giant_patch14_dinov2", "maps": "tokens", "depths": [1, 2, 3]}
    blueprints = {
        "does not fit model.json": giant | {"arguments": {"embed_dim": 98304, "depth": 200, "num_heads": 96}},
        "depth is larger than that of any encoder": giant | {"arguments": {"depth": 10**9}},
        "depths is larger than": giant | {"arguments": {"depths": [1] * 10**5}},
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for why, blueprint in blueprints.items():
        (run / "model.json").write_text(json.dumps(card | {"model": card["model"] | {"blueprint": blueprint}}))
        with pytest.raises(HistoProtoError, match=why):
            load_model(run)
    for more in ({"prototypes": 1000, "dimension": 16384}, {"encoder": "vit_giant_patch14_dinov2", "blueprint": None}):
        (run / "model.json").write_text(json.dumps(card | {"model": card["model"] | more}))
        with pytest.raises(WeightsError, match=r"does not fit model\.json"):
            load_model(run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_a_model_is_loaded_without_the_compiler_of_torch(tmp_path: Path) -> None:
    settings = ModelSettings(weights=None, prototypes=2, dimension=8)  # the default encoder, which needs no timm
    save_model(tmp_path, PrototypeNetwork(settings, len(TISSUES)), card_of(settings, TISSUES))
    code = "import sys; from pathlib import Path; from histoproto.model.saving import load_model; "
    code += "load_model(Path(sys.argv[1])); print('sympy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mit_b0", "test_efficientnet"])
def test_a_model_needs_no_more_the_file_that_its_encoder_began_with(tmp_path: Path, name: str) -> None:
    encoder = build_encoder(name, None)
    inner = encoder.state_dict() if name == "mit_b0" else encoder.body.state_dict()
    file = tmp_path / "weights.safetensors"
    save_file({key.removeprefix("body."): value.contiguous() for key, value in inner.items()}, file)
    settings = ModelSettings(encoder=f"{name}@{file}", weights="imagenet", prototypes=2, dimension=8)
    network = PrototypeNetwork(settings, len(TISSUES))
    save_model(tmp_path, network, colour_card().model_copy(update={"model": settings}), with_encoder=True)
    file.unlink()
    loaded, card = load_model(tmp_path)
    assert card.model.encoder == f"{name}@{file}"  # what it was, and not what it needs
    for key, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key])
