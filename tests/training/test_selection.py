"""Which checkpoint is kept."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from histoproto.training.callbacks import Checkpoints
from histoproto.training.selection import standard_error


def test_standard_error_counts_groups_not_patches() -> None:
    """Ten copies of every patch in its group tell no more than one."""
    rng = np.random.default_rng(0)
    present = rng.random((40, 2)) < 0.5
    probabilities = np.clip(0.5 * present + rng.random((40, 2)) * 0.7, 0, 1)
    groups = [str(index) for index in range(40)]
    error = standard_error(probabilities, present, groups)
    copied = standard_error(np.tile(probabilities, (10, 1)), np.tile(present, (10, 1)), groups * 10)
    assert 0.005 < error < 0.2
    assert copied == pytest.approx(error, rel=0.3)


@pytest.mark.parametrize(
    ("scores", "errors", "kept"),
    [
        ([0.99, 0.97, 0.95, 0.96], [0.0, 0.02, 0.02, 0.02], 4),  # a tie: the latest; the first comes too early
        ([0.50, 0.97, 0.90, 0.80], [0.0, 0.02, 0.02, 0.02], 2),  # truly worse
        ([0.50, 0.80, 0.90, 0.95], [0.0, 0.5, 0.01, 0.01], 4),
        ([0.50, 0.90, 0.891, 0.885], [0.0, 0.01, 0.5, 0.5], 3),  # what was kept does not lower the bar
    ],
)
def test_kept_is_the_latest_within_one_error_of_the_best(
    tmp_path: Path, scores: list[float], errors: list[float], kept: int
) -> None:
    checkpoints = Checkpoints(tmp_path, every=1, criterion="val")
    network = torch.nn.Linear(1, 1)
    for step, (score, error) in enumerate(zip(scores, errors, strict=True), 1):
        trainer = SimpleNamespace(
            callback_metrics={"val": score, "val_error": error},
            global_step=step,
            is_global_zero=True,
            save_checkpoint=lambda path: Path(path).touch(),
        )
        torch.nn.init.constant_(network.weight, step)
        checkpoints.on_validation_end(trainer, SimpleNamespace(state_to_keep=network.state_dict, total_steps=4))
    assert load_file(checkpoints.best_path)["weight"].item() == kept
