"""Training that diverges is stopped at the first loss that is not finite, and nothing is saved as finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from histoproto.config import load_settings
from histoproto.data.dataset import Sample
from histoproto.errors import RunError
from histoproto.methods.cam import CAM
from histoproto.tissue import TissueSet
from histoproto.training.run import train

TINY = ["method=cam", "model.encoder=test_efficientnet", "model.weights=null", "training.epochs=2", "data.workers=0"]


@pytest.mark.parametrize(("step", "value"), [(1, float("nan")), (3, float("inf"))])
def test_the_step_and_what_to_try_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, value: float
) -> None:
    data = tmp_path / "data"
    (data / "train").mkdir(parents=True)
    TissueSet.of("red", "green").write(data / "classes.yaml")
    for index in range(8):
        label = ("10", "01")[index % 2]
        pixels = np.full((32, 32, 3), 200 - index, np.uint8)
        Image.fromarray(pixels).save(data / "train" / f"region{index}+0[{label}].png")
    steps, plain = 0, CAM.losses

    def losses(self: CAM, batch: Sample, progress: float) -> dict[str, Tensor]:
        nonlocal steps
        steps += 1
        found = plain(self, batch, progress)
        return found | {"total": found["total"] * value} if steps == step else found

    monkeypatch.setattr(CAM, "losses", losses)
    settings = load_settings(overrides=[*TINY, "training.batch_size=4", "training.checkpoint_every=1"])
    with pytest.raises(
        RunError, match=rf"not finite at step {step} of 4 .*smaller training\.learning_rate \(now 0\.001"
    ):
        train(data, tmp_path / "run", settings)
    assert steps == step
    assert not (tmp_path / "run" / "model.json").exists()
    assert not (tmp_path / "run" / "model.safetensors").exists()
