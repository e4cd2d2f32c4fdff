"""The configurations of the paper's own benchmark load, and run as they are on a phantom in that layout."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from histoproto.config import load_settings
from histoproto.data.layouts import open_data
from histoproto.data.phantom import write_phantom
from histoproto.evaluation.protocols import evaluate
from histoproto.model.encoders import build_encoder
from histoproto.training.run import train
from places import ROOT

CONFIGS = ROOT / "configs"


@pytest.mark.parametrize("name", ["bcss-wsss", "luad-histoseg"])
def test_paper_settings(name: str) -> None:
    settings = load_settings(CONFIGS / f"{name}.yaml")
    assert settings.model.encoder == "mit_b1"
    assert (settings.model.prototypes, settings.model.merge, settings.loss.diversity) == (10, "mean", 0.5)
    assert (settings.training.batch_size, settings.training.epochs, settings.loss.refiner) == (10, 8, "image")


@pytest.mark.slow
def test_runs_on_a_phantom_in_the_layout(tmp_path: Path) -> None:
    """As it is but for random weights from a local file and, for time, fewer epochs and a smaller batch."""
    pytest.importorskip("transformers")
    weights = tmp_path / "mit_b1.safetensors"
    save_file(build_encoder("mit_b1", None).body.state_dict(), weights)
    data = tmp_path / "data"
    write_phantom(data, train=3, val=0, test=2, size=224, mpp=0.5, seed=0)
    assert open_data(data).layout == "bcss-wsss"
    local = [f"model.weights={weights}", f"loss.teacher=mit_b1@{weights}"]
    changes = [*local, "training.epochs=2", "loss.warmup=0.5", "training.batch_size=3", "data.workers=0"]
    run = train(data, tmp_path / "run", load_settings(CONFIGS / "bcss-wsss.yaml", changes))
    header, *rows = (run / "history.csv").read_text().splitlines()
    last = dict(zip(header.split(","), rows[-1].split(","), strict=True))
    assert all(np.isfinite(float(last[loss])) for loss in ("classification", "diversity", "similarity", "total"))
    result = evaluate(run, data, ["honest"])["honest"]
    assert 0 <= result["scores"]["miou"] <= 1
