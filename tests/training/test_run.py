"""A run: complete, repeatable, resumed as if never stopped, refused where it must be."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import forks
from dying import train_until_killed
from histoproto.config import load_settings
from histoproto.errors import DataError, ImageError, OutputError, RunError, SettingError, sentence
from histoproto.model.saving import load_model
from histoproto.training.run import train
from short_run import TINY


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    return train(data, tmp_path_factory.mktemp("runs") / "whole", load_settings(overrides=TINY))


def test_run_folder_is_complete_and_loads(data: Path, whole: Path) -> None:
    run = whole
    names = {path.name for path in run.iterdir()}
    assert {"config.yaml", "model.safetensors", "model.json", "history.csv", "record.json", "tensorboard"} <= names
    assert load_settings(run / "config.yaml") == load_settings(overrides=TINY)
    network, card = load_model(run)
    assert card.tissues.names == ("red", "green")
    assert card.patch_size == 32
    assert "no mask was used" in card.checkpoint
    assert card.training_data["held_out"] == 4
    assert all(0 < threshold < 1 for threshold in card.thresholds)
    maps = network.class_maps(torch.rand(2, 3, 32, 32))
    assert [m.shape[:2] for m in maps.maps] == [(2, 2)] * 3
    header, *rows = (run / "history.csv").read_text().splitlines()
    for column in ("classification", "diversity", "similarity", "total", "learning_rate", "val_map"):
        assert column in header.split(",")
    assert "progress.json" not in names  # it is for whoever looks while it trains
    assert len(rows) == 28 + 4  # 7 steps in each of 4 epochs, and a validation after each
    record = json.loads((run / "record.json").read_text())
    assert record["seed"] == 0
    assert torch.__version__.startswith(record["versions"]["torch"])
    with pytest.raises(RunError, match="--resume"):
        train(data, run, load_settings(overrides=TINY))


@pytest.mark.parametrize("stop", [1, 3, 7, 25, 0])
def test_killed_and_resumed_equals_uninterrupted(data: Path, whole: Path, tmp_path: Path, stop: int) -> None:
    """Killed before the first checkpoint, between two, at the end of an epoch, in the last, and after all steps."""
    train_until_killed(data, tmp_path / "cut", stop, TINY)
    assert not (tmp_path / "cut" / "model.json").exists()
    told = tmp_path / "cut" / "progress.json"  # of one that was killed while it trained
    assert [json.loads(path.read_text())["steps"] for path in (told,) if path.exists()] == [28] * bool(stop)
    resumed = train(data, tmp_path / "cut", resume=True)
    expected, found = load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors")
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert (resumed / "history.csv").read_text() == (whole / "history.csv").read_text()
    assert (resumed / "model.json").read_text() == (whole / "model.json").read_text()


def test_resuming_what_is_not_there_or_with_other_settings(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run to resume"):
        train(data, tmp_path / "none", resume=True)
    run = train(data, tmp_path / "run", load_settings(overrides=[*TINY, "training.epochs=1"]))
    before = (run / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(RunError, match="other settings"):
        train(data, run, load_settings(overrides=[*TINY, "seed=1"]), resume=True)
    train(data, run, resume=True)  # finished: nothing to do
    assert (run / "model.safetensors").stat().st_mtime_ns == before


def test_seeds_differ_and_repeat(data: Path, tmp_path: Path) -> None:
    short = [*TINY, "training.epochs=1"]
    first = load_file(train(data, tmp_path / "a", load_settings(overrides=short)) / "model.safetensors")
    again = load_file(train(data, tmp_path / "b", load_settings(overrides=short)) / "model.safetensors")
    other = load_file(train(data, tmp_path / "c", load_settings(overrides=[*short, "seed=1"])) / "model.safetensors")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["bank.prototypes"], other["bank.prototypes"])


def test_checkpoint_by_masks_and_scale_of_the_cut_are_recorded(data: Path, tmp_path: Path) -> None:
    masked = tmp_path / "data"
    shutil.copytree(data, masked)
    for part in ("img", "mask"):
        (masked / "val" / part).mkdir(parents=True)
    pixels = np.asarray(Image.open(next((data / "train").glob("*[[]11[]].png"))))
    Image.fromarray(pixels ^ 1).save(masked / "val" / "img" / "a.png")  # like a training patch, but none
    Image.fromarray(np.repeat(np.uint8([[0] * 16 + [1] * 16]), 32, axis=0)).save(masked / "val" / "mask" / "a.png")
    (masked / "cut.json").write_text(json.dumps({"train": {"mpp": 0.5, "region_mpp": 0.25}}))
    short = [*TINY, "training.epochs=2", "data.validate_with=masks"]
    run = train(masked, tmp_path / "run", load_settings(overrides=short))
    card = load_model(run)[1]
    assert "MASKS" in card.checkpoint
    assert card.mpp == 0.5
    with (run / "history.csv").open() as file:
        found = [float(row["val_miou"]) for row in csv.DictReader(file) if row["val_miou"]]
    assert len(found) == 2
    assert all(0 <= score <= 1 for score in found)
    with pytest.raises(SettingError, match="validation_fraction"):
        train(masked, tmp_path / "none", load_settings(overrides=[*short, "data.validation_fraction=0"]))


def test_teacher_of_another_size_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"model.dimension=320"):
        train(data, tmp_path / "run", load_settings(overrides=[*TINY, "model.dimension=64"]))
    assert not (tmp_path / "run" / "model.json").exists()


def test_a_device_that_is_not_there_leaves_no_run_behind(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"accelerator=abacus.*cannot be had"):
        train(data, tmp_path / "run", load_settings(overrides=[*TINY, "training.accelerator=abacus"]))
    assert not (tmp_path / "run").exists()


def test_a_broken_image_in_a_loading_process_is_one_sentence(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "data"
    shutil.copytree(data, broken)
    whole = next((broken / "train").iterdir())
    whole.write_bytes(whole.read_bytes()[:1000])
    with pytest.raises(ImageError) as caught:
        train(broken, tmp_path / "run", load_settings(overrides=[*TINY, "data.workers=1"]))
    assert "Traceback" in str(caught.value)  # what PyTorch makes of it
    found = sentence(caught.value)
    assert found.startswith(f"{whole} cannot be read")
    assert "Traceback" not in found
    assert "\n" not in found


def test_a_run_below_a_file_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        train(data, tmp_path / "file" / "run", load_settings(overrides=TINY))


@pytest.mark.slow
def test_two_processes_train_what_one_trains(data: Path, tmp_path: Path) -> None:
    """With layer norm and a loss that is a mean over patches, nothing depends on how a batch is shared."""
    settings = [*TINY, "model.encoder=test_vit", "loss.similarity=0", "loss.diversity=0", "training.accelerator=cpu"]
    one = train(data, tmp_path / "one", load_settings(overrides=[*settings, "training.devices=1"]))
    command = [sys.executable, "-m", "histoproto", "train", str(data), "--out", str(tmp_path / "two")]
    options = [word for setting in [*settings, "training.devices=2"] for word in ("--set", setting)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected, found = (load_file(run / "model.safetensors") for run in (one, tmp_path / "two"))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-3)
    losses = []
    for run in (one, tmp_path / "two"):
        with (run / "history.csv").open() as file:
            losses.append([float(row["total"]) for row in csv.DictReader(file) if row["total"]])
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    again = forks.run(forks.histoproto, *command[3:], *options)
    assert again.returncode == 2
    assert "already holds a run" in again.stderr


@pytest.mark.parametrize("method", ["lpd", "cam", "lpd+decoder"])
def test_a_tissue_in_every_patch_is_what_remains_and_that_is_said(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    folder = tmp_path / "data"
    (folder / "train").mkdir(parents=True)
    shutil.copy(data / "classes.yaml", folder)
    for path in (data / "train").iterdir():
        if "[10]" not in path.name:  # all that is left shows green
            shutil.copy(path, folder / "train")
    run = train(folder, tmp_path / "run", load_settings(overrides=[*TINY, "training.epochs=1", f"method={method}"]))
    note = "green is in every training patch, so labels do not say where: it is mapped wherever no other tissue is seen"
    assert note in capsys.readouterr().err
    assert json.loads((run / "record.json").read_text())["notes"] == [note]
    network, card = load_model(run)
    assert card.remainder == (1,)
    assert card.thresholds[1] <= 0.5
    found = network.class_maps(torch.rand(2, 3, 32, 32))
    assert (found.logits[:, 1].sigmoid() > card.thresholds[1]).all()
    if method != "lpd+decoder":
        assert all((scale[:, 1] == 0).all() for scale in found.maps)


def test_patches_that_all_have_the_same_tissues_are_refused(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "train").mkdir(parents=True)
    shutil.copy(data / "classes.yaml", folder)
    for path in (data / "train").iterdir():
        if "[11]" in path.name:
            shutil.copy(path, folder / "train")
    with pytest.raises(DataError, match=r"have the same tissues \(red and green\); a tissue is learnt from"):
        train(folder, tmp_path / "run", load_settings(overrides=TINY))
    assert not (tmp_path / "run" / "config.yaml").exists()
