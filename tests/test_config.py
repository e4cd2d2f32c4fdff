"""Settings: where they come from, and what a mistake in them says."""

from __future__ import annotations

from pathlib import Path

import pytest

from histoproto.config import Settings, load_settings
from histoproto.errors import HistoProtoError, sentence


def test_file_then_overrides(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 5\ntraining: {epochs: 3, devices: auto}\n")
    settings = load_settings(tmp_path / "mine.yaml", ["training.epochs=2", "model.weights=null"])
    assert (settings.seed, settings.training.epochs, settings.model.weights) == (5, 2, None)
    (tmp_path / "again.yaml").write_text(settings.to_yaml())
    assert load_settings(tmp_path / "again.yaml") == settings
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.devices=0", "setting training.devices: Input should be greater"),
        ("inference.fusion_weights=[1, 2, -3]", "setting inference.fusion_weights: Input should be greater"),
        ("model.prototype=3", "there is no setting 'model.prototype'; there are architecture, encoder"),
        ("nothing=3", "there is no setting 'nothing'; there are method, seed"),
        ("seed.x=3", "'seed' is no group of settings"),
        ("seed", "takes group.key=value"),
        ("model.encoder=[", "--set model.encoder, line 1"),
    ],
)
def test_mistakes_are_sentences(tmp_path: Path, override: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 5\n")
    with pytest.raises(HistoProtoError) as caught:
        load_settings(tmp_path / "mine.yaml", [override])
    assert said in sentence(caught.value)


@pytest.mark.parametrize("text", ["a: [1\nb: }", "- 1\n- 2\n", "\xff"])
def test_a_broken_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(HistoProtoError, match=r"mine\.yaml") as caught:
        load_settings(tmp_path / "mine.yaml")
    assert "\n" not in sentence(caught.value)
