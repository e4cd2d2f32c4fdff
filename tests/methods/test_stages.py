"""Two stages of any method: resumed, reused, stopped; and parts of the training patches."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dying import train_until_killed
from histoproto.config import TrainingSettings, load_settings
from histoproto.errors import OutputError, RunError
from histoproto.methods.base import Method
from histoproto.methods.registry import PRESETS
from histoproto.report.prototype_page import write_prototypes
from histoproto.training.callbacks import Checkpoints
from histoproto.training.epochs import count_epochs
from histoproto.training.run import train
from tiny import TINY, settings_of


def test_smaller_fractions_lie_within_larger_ones(data: Path) -> None:
    from histoproto.training.material import gather

    def used(fraction: float) -> set[Path]:
        settings = settings_of("lpd", f"data.fraction={fraction}", "data.validation_fraction=0")
        return {patch.image for patch in gather(data, settings).training.patches}

    assert len(used(0.25)) == 6
    assert used(0.25) < used(0.5) < used(1.0)


def test_a_run_without_prototypes_says_so(data: Path, tmp_path: Path) -> None:
    run = train(data, tmp_path / "run", settings_of("cam"))
    with pytest.raises(RunError, match="no prototypes"):
        write_prototypes(run, data, tmp_path / "out")


@pytest.mark.parametrize("stop", [3, 13])
def test_two_stages_resume_exactly_in_either(data: Path, tmp_path: Path, stop: int) -> None:
    """Ten steps each: killed in the first and in the second."""
    overrides = ["method=cam", *TINY, "training.second_stage=true"]
    whole = train(data, tmp_path / "whole", load_settings(overrides=overrides, presets=PRESETS))
    train_until_killed(data, tmp_path / "cut", stop, overrides)
    assert (tmp_path / "cut" / "first-stage" / "model.json").exists() == (stop > 10)
    resumed = train(data, tmp_path / "cut", resume=True)
    expected, found = load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_a_second_stage_may_start_from_a_finished_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = load_settings(overrides=["method=cam", *TINY], presets=PRESETS)
    both = load_settings(overrides=["method=cam", *TINY, "training.second_stage=true"], presets=PRESETS)
    first = train(data, tmp_path / "first", alone)
    whole = train(data, tmp_path / "whole", both)
    added = train(data, tmp_path / "added", both, first_stage=first)
    expected, found = load_file(whole / "model.safetensors"), load_file(added / "model.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    one, two = (json.loads((run / "record.json").read_text()) for run in (first, added))
    assert two["seconds"] > one["seconds"]
    assert two["parameters"] > one["parameters"]

    other = load_settings(overrides=["method=cam", *TINY, "seed=1", "training.second_stage=true"], presets=PRESETS)
    with pytest.raises(RunError, match="trained with other settings"):
        train(data, tmp_path / "wrong", other, first_stage=first)
    shutil.copytree(data, tmp_path / "fewer")
    next((tmp_path / "fewer" / "train").glob("*.png")).unlink()
    with pytest.raises(RunError, match="trained on other patches"):
        train(tmp_path / "fewer", tmp_path / "wrong", both, first_stage=first)
    assert not (tmp_path / "wrong").exists()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(OutputError, match="No space left"):
        train(data, tmp_path / "wrong", both, first_stage=first)
    assert not (tmp_path / "wrong").exists()


def test_what_a_single_stage_says_of_a_second_does_not_matter(data: Path, tmp_path: Path) -> None:
    """So that `pbip` without its second stage, whose presets speak of one, can be the first stage of `pbip`."""
    overrides = ["method=cam", *TINY, "training.second_stage_encoder=pretrained"]
    first = train(data, tmp_path / "first", load_settings(overrides=overrides))
    both = load_settings(overrides=[*overrides, "training.second_stage=true"])
    added = train(data, tmp_path / "added", both, first_stage=first)
    copied = load_file(added / "first-stage" / "model.safetensors")
    assert all(torch.equal(value, copied[name]) for name, value in load_file(first / "model.safetensors").items())


def test_encoder_of_the_second_stage_is_that_of_the_first_or_a_new_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["method=cam", *TINY]
    first = train(data, tmp_path / "first", load_settings(overrides=overrides))
    seen = []

    def stop(method: Method, *_: object) -> None:
        seen.append(method.network.encoder.state_dict())
        raise KeyboardInterrupt

    monkeypatch.setattr("histoproto.training.run.fit", stop)
    for encoder in ("first", "pretrained"):
        more = ["training.second_stage=true", f"training.second_stage_encoder={encoder}"]
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path / f"from-{encoder}", load_settings(overrides=[*overrides, *more]), first_stage=first)
    trained = load_file(first / "model.safetensors")
    alike = [all(torch.equal(value, trained[f"encoder.{name}"]) for name, value in one.items()) for one in seen]
    assert alike == [True, False]


@pytest.mark.parametrize(
    ("more", "epochs"),
    [
        ({"second_stage": False, "second_stage_epochs": 3}, 8),
        ({}, 4),
        ({"second_stage_encoder": "pretrained"}, 8),
        ({"second_stage_epochs": 3}, 3),
        ({"epochs": 1}, 1),
    ],
)
def test_epochs_of_the_second_stage(more: dict[str, Any], epochs: int) -> None:
    training = TrainingSettings(**{"epochs": 8, "second_stage": True, **more})
    assert count_epochs(training, 100) == epochs


def test_ctrl_c_in_training_stays_one_and_can_be_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_validation_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path / "run", settings_of("cam"))
    signal.signal(signal.SIGINT, handler)  # Lightning has switched it off
    assert not (tmp_path / "run" / "model.json").exists()
    assert (train(data, tmp_path / "run", resume=True) / "model.json").exists()
