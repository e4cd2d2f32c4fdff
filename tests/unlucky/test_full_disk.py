"""A disk that is full, or becomes so: one sentence, nothing half-written, and it goes on once there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlucky.commands import TRAIN, assert_one_sentence, assert_same_run, draw_data, run
from unlucky.disks import small_disk

FULL = "No space left on device"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data(tmp_path_factory.mktemp("full") / "data")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("full") / "run"
    assert run("train", data, "--out", out, "--no-report", *TRAIN)[0] == 0
    return out


@pytest.mark.parametrize("kib", [4, 40, 200, 1500, 4000])
def test_train_says_so_wherever_it_meets_the_end(data: Path, whole: Path, tmp_path: Path, kib: int) -> None:
    """Too small for the settings, the features of the teacher, the first checkpoint, the best weights, the model."""
    with small_disk(tmp_path / "disk", 65536) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes((65536 - kib) << 10))
        out = disk / "run"
        code, printed = run("train", data, "--out", out, "--no-report", *TRAIN)
        if code == 0:
            pytest.skip(f"{kib} KiB are enough here")
        assert_one_sentence(code, printed, FULL)
        assert not (out / "model.json").exists()
        left = [path.name for path in disk.rglob("*") if "partial" in path.name]
        assert not left
        ballast.unlink()
        resume = ["--resume"] if (out / "config.yaml").exists() else TRAIN
        code, printed = run("train", data, "--out", out, "--no-report", *resume)
        assert code == 0, printed
        assert_same_run(out, whole)


@pytest.mark.parametrize("command", ["predict", "export", "prototypes", "data phantom", "data cut"])
def test_every_command_that_writes_says_so(data: Path, whole: Path, tmp_path: Path, command: str) -> None:
    with small_disk(tmp_path / "disk", 24) as disk:
        out = disk / "out"
        arguments: dict[str, list[object]] = {
            "predict": ["predict", whole, data / "train", "--out", out],
            "export": ["export", whole, "--out", out, "--format", "torch-export"],
            "prototypes": ["prototypes", whole, data, "--out", out],
            "data phantom": ["data", "phantom", "--out", out, "--train", "20"],
            "data cut": ["data", "cut", data / "test", "--out", out, "--size", "4"],
        }
        code, printed = run(*arguments[command])
        assert_one_sentence(code, printed, FULL)
        assert not [path for path in disk.rglob("*") if "partial" in path.name or ".part-" in path.name]
