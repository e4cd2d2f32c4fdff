"""Networks: shapes, scales, and who decides what is there."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from fakes import card_of
from histoproto.config import ModelSettings
from histoproto.errors import DocumentError, RunError, WeightsError
from histoproto.model.network import DecodedPrototypeNetwork, PrototypeNetwork
from histoproto.model.saving import load_model, save_model
from histoproto.tissue import TissueSet

SMALL = ModelSettings(encoder="test_efficientnet", weights=None, prototypes=4, dimension=16)


def test_network_shapes_and_logit_scale() -> None:
    network = PrototypeNetwork(SMALL, tissues=3).eval()
    assert network.bank.scales().tolist() == pytest.approx([1 / 0.07] * 3)
    torch.testing.assert_close(network.bank.prototypes.norm(dim=-1), torch.ones(3, 4))
    with torch.no_grad():
        out = network(torch.rand(2, 3, 64, 64))
        assert out.maps[-1].shape == (2, 3, 4, *out.features[-1].shape[2:])
        torch.testing.assert_close(out.maps[-1], out.cosines[-1] / 0.07)
        torch.testing.assert_close(network.prototype_maps(torch.ones(1, 3, 64, 64)).shape[:3], torch.Size([1, 3, 4]))
        logits = network.class_maps(torch.rand(2, 3, 64, 64)).logits
    assert logits.shape == (2, 3)
    assert logits.abs().max() <= 1 / 0.07 + 1e-4
    network.bank.log_scales.data += 10 * math.log(10)
    assert network.bank.scales().max() == 100


def test_decoder_and_prototypes_decide_together_what_is_there() -> None:
    torch.manual_seed(0)
    settings = ModelSettings(encoder="test_efficientnet", weights=None, prototypes=3, dimension=16)
    network = DecodedPrototypeNetwork(settings, 4).eval()
    x = torch.rand(2, 3, 64, 64)
    out, found = network(x), network.class_maps(x)
    decoded = network.decoder(out.features)
    torch.testing.assert_close(found.maps, decoded.maps)
    torch.testing.assert_close(found.logits, (decoded.logits + out.logits[-1]) / 2)
    torch.testing.assert_close(network.prototype_maps(x), out.maps[-1])


def test_saving_and_loading_gives_the_same_network(tmp_path: Path) -> None:
    tissues = TissueSet.of("tumour", "stroma", "normal")
    network = PrototypeNetwork(SMALL, 3).eval()
    save_model(tmp_path, network, card_of(SMALL, tissues))
    loaded, card = load_model(tmp_path)
    assert card.tissues == tissues
    assert card.mpp == 0.5
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.class_maps(x).logits, network.class_maps(x).logits)
    assert not loaded.training
    assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors", "model.json"}


def test_loading_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no trained model"):
        load_model(tmp_path)
    save_model(tmp_path, PrototypeNetwork(SMALL, 3), card_of(SMALL, TissueSet.of("a", "b")))
    with pytest.raises(WeightsError, match="does not fit"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"method": "lpd"}))
    with pytest.raises(DocumentError, match=r"model\.json: model is missing"):
        load_model(tmp_path)
