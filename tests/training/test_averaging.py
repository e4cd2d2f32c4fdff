"""Averaged weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from histoproto.config import load_settings
from histoproto.training.callbacks import WeightAveraging
from histoproto.training.run import train
from short_run import TINY


def test_saved_is_the_mean_of_the_last_weights(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    rates: set[float] = set()
    plain = WeightAveraging.on_train_batch_end

    def watching(self: WeightAveraging, trainer: Any, module: Any, *rest: Any) -> None:
        plain(self, trainer, module, *rest)
        seen.append({name: value.clone().double() for name, value in module.method.network.state_dict().items()})
        rates.add(trainer.optimizers[0].param_groups[0]["lr"])

    monkeypatch.setattr(WeightAveraging, "on_train_batch_end", watching)
    run = train(data, tmp_path / "run", load_settings(overrides=[*TINY, "data.validation_fraction=0"]))
    saved = load_file(run / "model.safetensors")
    assert len(seen) == 32
    assert rates == {1e-3}
    for name, value in saved.items():
        if value.is_floating_point():
            mean = sum(weights[name] for weights in seen[15:]) / 17  # after steps 16 … 32
            torch.testing.assert_close(value.double(), mean, rtol=1e-4, atol=1e-6, msg=name)
