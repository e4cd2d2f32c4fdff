"""A vision transformer from a folder, through all commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from histoproto import Segmenter
from histoproto.cli.app import app
from histoproto.tissue import TissueSet
from vit import tiny_vit


def call(*words: object, code: int = 0) -> str:
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == code, found.output
    return found.output


@pytest.mark.parametrize("tuning", ["full", "frozen"])
def test_train_resume_predict_segment_export(tmp_path: Path, tuning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("HISTOPROTO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data/train").mkdir(parents=True)
    TissueSet.of("red", "green").write(tmp_path / "data/classes.yaml")
    rng = np.random.default_rng(0)
    for index in range(16):
        pixels = rng.integers(120, 255, (64, 64, 3), dtype=np.uint8)
        label = ("10", "01", "11")[index % 3]
        pixels[:, :32, 0 if label[0] == "1" else 1] = 60
        pixels[:, 32:, 1 if label[1] == "1" else 0] = 60
        Image.fromarray(pixels).save(tmp_path / f"data/train/region{index // 2}+{index}[{label}].png")
    folder, run = tiny_vit(tmp_path / "vit"), tmp_path / "run"
    values = (
        f"model.encoder=local-dir:{folder}",
        *("model.prototypes=2", "model.dimension=32", f"loss.teacher=local-dir:{folder}", "data.workers=0"),
        *("training.epochs=2", "training.batch_size=8", "data.mpp=0.5", f"training.tuning={tuning}"),
    )
    call("train", tmp_path / "data", "--out", run, *(word for value in values for word in ("--set", value)))
    card = json.loads((run / "model.json").read_text())
    assert card["model"]["blueprint"]["arguments"]["reg_tokens"] == 2
    assert (card["encoder_weights"] is not None) == (tuning == "frozen")
    for name in ("model.json", "model.safetensors", "record.json"):
        (run / name).unlink()
    call("train", tmp_path / "data", "--out", run, "--resume", "--no-report")
    (folder / "config.json").unlink()  # nothing but the weights is needed from here on
    image = next((tmp_path / "data/train").glob("*.png"))
    call("predict", run, image, "--out", tmp_path / "predicted")
    Image.fromarray(np.tile(pixels, (3, 4, 1))).save(tmp_path / "slide.png")
    call("segment", run, tmp_path / "slide.png", "--out", tmp_path / "slides", "--mpp", "0.5")
    call("export", run, "--out", tmp_path / "exported")
    plain, onnx = (Segmenter.load(path, device="cpu").segment(image) for path in (run, tmp_path / "exported"))
    assert (plain.labels == onnx.labels).mean() > 0.99
