"""The training room: run folder, exact resuming after a kill, held-out patches, calibration."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from histoproto.config import Settings, load_settings
from histoproto.data.dataset import StepSampler
from histoproto.data.layouts import Patch
from histoproto.errors import ImageError, OutputError, RunError, SettingError, sentence
from histoproto.model.saving import load_model
from histoproto.tissue import TissueSet
from histoproto.training.calibration import best_f1_threshold
from histoproto.training.callbacks import Checkpoints, WeightAveraging
from histoproto.training.epochs import count_epochs
from histoproto.training.holdout import hold_out
from histoproto.training.run import train
from histoproto.training.selection import standard_error

TINY = [
    "model.encoder=test_efficientnet",
    "model.weights=null",
    "model.prototypes=3",
    "training.epochs=4",
    "training.batch_size=4",
    "training.checkpoint_every=2",
    "training.averaging=0.5",
    "data.validation_fraction=0.25",
    "data.workers=0",
    "loss.warmup=0.25",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 patches of 32 px: red, green or both halves."""
    root = tmp_path_factory.mktemp("data")
    (root / "train").mkdir()
    TissueSet.of("red", "green").write(root / "classes.yaml")
    rng = np.random.default_rng(0)
    for index in range(32):
        pixels = rng.integers(120, 255, (32, 32, 3), dtype=np.uint8)
        label = ("10", "01", "11")[index % 3]
        pixels[:, :16, 0 if label[0] == "1" else 1] = 60
        pixels[:, 16:, 1 if label[1] == "1" else 0] = 60
        Image.fromarray(pixels).save(root / "train" / f"region{index // 4}+{index}[{label}].png")
    return root


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    return train(data, tmp_path_factory.mktemp("runs") / "whole", load_settings(overrides=TINY))


@pytest.mark.parametrize(("patches", "epochs"), [(100_000, 6), (950, 6), (560, 10), (16, 350), (3, 350)])
def test_few_patches_are_seen_more_often(patches: int, epochs: int) -> None:
    assert count_epochs(Settings().training, patches) == epochs
    assert count_epochs(load_settings(overrides=["training.epochs=2"]).training, patches) == 2


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
    assert len(rows) == 28 + 4  # 7 steps in each of 4 epochs, and a validation after each
    record = json.loads((run / "record.json").read_text())
    assert record["seed"] == 0
    assert torch.__version__.startswith(record["versions"]["torch"])
    with pytest.raises(RunError, match="--resume"):
        train(data, run, load_settings(overrides=TINY))


KILLED = """
import sys, os, signal
import histoproto.training.callbacks as callbacks
from histoproto.config import load_settings
from histoproto.training import run
from histoproto.training.run import train
data, out, stop, *settings = sys.argv[1:]
plain = callbacks.Checkpoints.on_train_batch_end
def deadly(self, trainer, module, *rest):
    plain(self, trainer, module, *rest)
    if trainer.global_step == int(stop):
        os.kill(os.getpid(), signal.SIGKILL)
callbacks.Checkpoints.on_train_batch_end = deadly
if stop == "0":  # all steps done, nothing saved
    run.save = lambda *parts: os.kill(os.getpid(), signal.SIGKILL)
train(data, out, load_settings(overrides=settings))
"""


@pytest.mark.parametrize("stop", [1, 3, 7, 25, 0])
def test_killed_and_resumed_equals_uninterrupted(data: Path, whole: Path, tmp_path: Path, stop: int) -> None:
    """Killed before the first checkpoint, between two, at the end of an epoch, in the last, and after all steps."""
    command = [sys.executable, "-c", KILLED, str(data), str(tmp_path / "cut"), str(stop), *TINY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "cut" / "model.json").exists()
    resumed = train(data, tmp_path / "cut", resume=True)
    expected, found = load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors")
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert (resumed / "history.csv").read_text() == (whole / "history.csv").read_text()
    assert (resumed / "model.json").read_text() == (whole / "model.json").read_text()


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
    shutil.copy(next((data / "train").glob("*[[]11[]].png")), masked / "val" / "img" / "a.png")
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


def test_two_processes_share_each_batch() -> None:
    one = list(StepSampler(10, 4, epochs=2, seed=3))
    halves = [list(StepSampler(10, 4, epochs=2, seed=3, rank=rank, world=2)) for rank in (0, 1)]
    for step in range(4):
        both = {*halves[0][2 * step : 2 * step + 2], *halves[1][2 * step : 2 * step + 2]}
        assert both == set(one[4 * step : 4 * step + 4])
    late = StepSampler(10, 4, epochs=2, seed=3)
    late.start = 3
    assert list(late) == one[12:]


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
    again = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "already holds a run" in again.stderr


def test_held_out_groups_are_whole_and_rare_tissue_stays() -> None:
    def patch(group: str, *labels: int) -> Patch:
        return Patch(Path(f"{group}.png"), labels, None, group)

    common = [patch(f"c{index // 5}", 1, 0) for index in range(100)]
    rare = [patch("r0", 0, 1) for _ in range(18)] + [patch("r1", 0, 1) for _ in range(2)]
    for seed in range(10):
        training, held = hold_out([*common, *rare], 0.1, seed)
        assert len(training) + len(held) == 120
        assert not {p.group for p in training} & {p.group for p in held}
        assert "r0" not in {p.group for p in held}
        assert {p.group for p in held} > {"r1"}


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
        checkpoints.on_validation_end(trainer, SimpleNamespace(final_network=network, total_steps=4))
    assert load_file(checkpoints.best_path)["weight"].item() == kept


def test_threshold_is_the_best_of_all_cuts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, weights = rng.random(30) < 0.4, rng.choice([0.3, 1.0], 30)
        logits = rng.normal(2 * labels - 1, 1).round(1)

        def f1(threshold: float, z=logits, y=labels, w=weights) -> float:
            chosen = 1 / (1 + np.exp(-z)) >= threshold
            return 2 * (w * (chosen & y)).sum() / ((w * chosen).sum() + (w * y).sum())

        found = best_f1_threshold(logits, labels, weights)
        assert f1(found) == pytest.approx(max(f1(t) for t in np.linspace(0, 1, 2001)))
    assert best_f1_threshold(np.array([0.2, 0.9]), np.array([True, True]), np.ones(2)) == 0.5


def test_defaults_are_valid() -> None:
    assert Settings().loss.warmup < 1
