"""What a run was begun on: never resumed on other data, and nothing computed from other data is used."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dying import train_until_killed
from histoproto.config import load_settings
from histoproto.data.dataset import PatchDataset
from histoproto.data.fingerprint import content_of
from histoproto.data.layouts import Patch
from histoproto.errors import OutputError, RunError
from histoproto.tissue import TissueSet
from histoproto.training import teacher_maps
from histoproto.training.run import train
from histoproto.training.teacher_maps import write_teacher_maps

TINY = [
    *("model.encoder=test_efficientnet", "model.weights=null", "model.prototypes=2", "model.dimension=320"),
    *("training.epochs=2", "training.batch_size=4", "training.checkpoint_every=1", "data.workers=0", "loss.warmup=0"),
]


def draw(folder: Path, index: int) -> None:
    label = ("10", "01")[index % 2]
    pixels = np.random.default_rng(index).integers(90, 160, (32, 32, 3), dtype=np.uint8)
    pixels[..., index % 2] += 60
    Image.fromarray(pixels).save(folder / f"region{index}+0[{label}].bmp")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "train").mkdir()
    TissueSet.of("red", "green").write(root / "classes.yaml")
    for index in range(20):
        draw(root / "train", index)
    return root


@pytest.fixture(scope="module")
def killed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed after the third of eight steps."""
    run = tmp_path_factory.mktemp("runs") / "killed"
    train_until_killed(data, run, 3, TINY)
    return run


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of a run that nothing disturbed."""
    run = train(data, tmp_path_factory.mktemp("runs") / "whole", load_settings(overrides=TINY))
    return load_file(run / "model.safetensors")


def assert_equal(run: Path, weights: dict[str, torch.Tensor]) -> None:
    found = load_file(run / "model.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in weights.items())


@pytest.fixture
def stopped(data: Path, killed: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies of its data and its folder."""
    return shutil.copytree(data, tmp_path / "data"), shutil.copytree(killed, tmp_path / "run")


def test_images_that_changed_places_are_found_though_no_size_has_changed(stopped: tuple[Path, Path]) -> None:
    data, run = stopped
    first, second = (data / "train" / f"region{index}+0[10].bmp" for index in (0, 2))
    spare = data / "spare"
    first.rename(spare), second.rename(first), spare.rename(second)
    teacher = next((run / "checkpoints").glob("teacher-*.npy"))
    before = teacher.stat().st_mtime_ns
    with pytest.raises(RunError, match=r"begun on other data: 2 of 20 patches are changed .*\(train/region0\+0"):
        train(data, run, resume=True)
    assert not (run / "model.json").exists()
    assert teacher.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("what", "said"),
    [("remove", "1 of 20 patches are missing (train/region5"), ("add", "1 of 20 patches are new (train/region20")],
)
def test_missing_and_new_images_are_named(stopped: tuple[Path, Path], what: str, said: str) -> None:
    data, run = stopped
    if what == "remove":
        (data / "train" / "region5+0[01].bmp").unlink()
    else:
        draw(data / "train", 20)
    with pytest.raises(RunError) as caught:
        train(data, run, resume=True)
    assert said in str(caught.value)


def test_other_times_and_another_place_do_not_matter(
    whole: dict[str, torch.Tensor], stopped: tuple[Path, Path]
) -> None:
    moved, run = stopped
    for path in (moved / "train").iterdir():
        os.utime(path, (1, 1))
    train(moved, run, resume=True)
    assert_equal(run, whole)
    assert not list((run / "checkpoints").glob("teacher*"))


def test_what_lies_about_of_another_run_is_not_used(
    stopped: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = stopped
    newest, former = run / "checkpoints" / "resume.ckpt", run / "checkpoints" / "resume-former.ckpt"
    content = torch.load(newest, weights_only=True)
    content["callbacks"]["Checkpoints"]["run"] = "another"
    torch.save(content, newest)
    former.unlink()
    with pytest.raises(RunError, match=r"resume\.ckpt is of another run; remove"):
        train(data, run, resume=True)


@pytest.mark.parametrize("damage", ["empty", "cut", "zeros", "foreign"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_it(
    stopped: tuple[Path, Path], damage: str, whole: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = stopped
    path = run / "checkpoints" / "resume.ckpt"
    content = bytearray(path.read_bytes())
    if damage == "zeros":  # what a power cut may leave in the middle
        content[len(content) // 2 : len(content) // 2 + 4096] = bytes(4096)
    damaged = {"empty": b"", "cut": content[: len(content) // 2], "zeros": content, "foreign": b"no checkpoint"}
    path.write_bytes(damaged[damage])
    steps = torch.load(run / "checkpoints" / "resume-former.ckpt", weights_only=True)["global_step"]
    assert steps == 2
    train(data, run, resume=True)
    assert "going on from the one before it" in capsys.readouterr().err
    assert_equal(run, whole)


def test_without_a_whole_checkpoint_it_is_said_what_to_do(stopped: tuple[Path, Path]) -> None:
    data, run = stopped
    for name in ("resume.ckpt", "resume-former.ckpt"):
        (run / "checkpoints" / name).write_bytes(b"")
    with pytest.raises(RunError, match=r"resume\.ckpt is empty; .*resume-former\.ckpt is empty; remove"):
        train(data, run, resume=True)


def test_a_fingerprint_sees_pixels_labels_group_and_mask(tmp_path: Path) -> None:
    image, mask = tmp_path / "a.png", tmp_path / "m.png"
    image.write_bytes(b"1"), mask.write_bytes(b"2")
    patch = Patch(image, (0, 1), None, "g")
    seen = {content_of(each) for each in (patch, Patch(image, (1, 1), None, "g"), Patch(image, (0, 1), None, "h"))}
    seen.add(content_of(Patch(image, (0, 1), mask, "g")))
    image.write_bytes(b"3")
    seen.add(content_of(patch))
    assert len(seen) == 5


class Teacher(torch.nn.Module):
    def dense(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, ::8, ::8]


def test_teacher_features_take_their_space_first_and_broken_ones_are_made_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = [Patch(path, (1, 0), None, path.stem) for path in sorted((data / "train").iterdir())]
    dataset, path = PatchDataset(patches, 32), tmp_path / "teacher-1.npy"
    for broken in (None, b"", b"no array", "short"):
        if broken == "short":
            path.write_bytes(path.read_bytes()[:-100])
        elif broken is not None:
            path.write_bytes(broken)  # type: ignore[arg-type]
        write_teacher_maps(dataset, Teacher(), path, torch.device("cpu"), 0)  # type: ignore[arg-type]
        found = np.load(path)
        assert found.shape == (20, 3, 4, 4)
        assert np.array_equal(found[7], dataset[7]["image"][:, ::8, ::8].numpy().astype(np.float16))
    before = path.stat().st_mtime_ns
    write_teacher_maps(dataset, Teacher(), path, torch.device("cpu"), 0)  # type: ignore[arg-type]
    assert path.stat().st_mtime_ns == before

    def full(path: Path, size: int) -> None:
        raise OutputError(f"{path} has no room for {size}")

    monkeypatch.setattr(teacher_maps, "reserve", full)
    with pytest.raises(OutputError, match="has no room"):
        write_teacher_maps(dataset, Teacher(), tmp_path / "teacher-2.npy", torch.device("cpu"), 0)  # type: ignore[arg-type]
    assert [file.name for file in tmp_path.iterdir()] == ["teacher-1.npy"]


def test_a_broken_list_of_the_data_is_no_reason_to_go_on(stopped: tuple[Path, Path]) -> None:
    data, run = stopped
    listing = run / "checkpoints" / "data.json"
    content = json.loads(listing.read_text())
    assert len(content["training"]) + len(content["held_out"]) == 20
    listing.unlink()
    with pytest.raises(RunError, match=r"data\.json.*is missing"):
        train(data, run, resume=True)


def test_training_writes_over_nothing_that_is_there(data: Path, tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("mine")
    with pytest.raises(RunError, match=r"history\.csv is there already"):
        train(data, tmp_path, load_settings(overrides=TINY))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]
