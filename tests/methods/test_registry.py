"""Every method by its name: it trains, loads, and starts from its presets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from histoproto.config import Settings, load_settings
from histoproto.errors import SettingError
from histoproto.methods.registry import METHODS, build_method, resolve
from histoproto.model.saving import load_model
from histoproto.training.run import train
from tiny import settings_of


@pytest.mark.parametrize("method", METHODS)
def test_trains_and_loads(method: str, data: Path, tmp_path: Path) -> None:
    # The published code compares raw prototypes with features, so both must be of one size.
    fitting = ["model.dimension=64", "loss.similarity=0"] if method == "lpd-published" else []
    settings = settings_of(method, *fitting)
    run = train(data, tmp_path / "run", settings)
    network, card = load_model(run)
    assert card.method == method
    assert card.second_stage == (method == "pbip")
    out = network.class_maps(torch.rand(2, 3, 32, 32))
    assert out.logits.shape == (2, 2)
    assert all(maps.shape[:2] == (2, 2) for maps in out.maps)
    assert all(torch.isfinite(maps).all() for maps in out.maps)
    assert not (run / "pseudo-masks").exists()
    assert load_settings(run / "config.yaml") == resolve(settings)


def test_unknown_method_is_named() -> None:
    with pytest.raises(SettingError, match="there is no method 'lpp'; there are lpd, "):
        build_method(settings_of("lpp"), torch.tensor([0.5, 0.5]))


def test_presets_give_way_to_what_is_given() -> None:
    assert settings_of("pbip").training.second_stage
    assert settings_of("pbip").model.pooling == "mean"
    assert settings_of("pbip", "model.pooling=topk").model.pooling == "topk"
    assert settings_of("lpd").model.pooling == Settings().model.pooling
    with pytest.raises(SettingError, match="pbip are fixed"):
        build_method(settings_of("pbip", "loss.diversity=1", "training.second_stage=false"), torch.tensor([0.5, 0.5]))
