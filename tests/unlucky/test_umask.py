"""Whatever a command writes can be read by whom the umask says, and by nobody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unlucky.commands import TRAIN, draw_data, run


@pytest.mark.slow
def test_all_that_commands_write_obeys_the_umask(tmp_path: Path) -> None:
    data = draw_data(tmp_path / "data")
    before, out = os.umask(0o027), tmp_path / "out"
    try:
        commands: list[list[object]] = [
            ["train", data, "--out", out / "run", *TRAIN],
            ["evaluate", out / "run", data],
            ["predict", out / "run", data / "train", "--out", out / "predicted"],
            ["prototypes", out / "run", data, "--out", out / "prototypes"],
            ["export", out / "run", "--out", out / "exported", "--format", "torch-export"],
            ["data", "cut", data / "test", "--out", out / "cut", "--size", "16"],
            ["data", "phantom-slide", "--out", out / "slide.tif", "--width", "512", "--height", "512"],
            ["segment", out / "run", out / "slide.tif", "--model-mpp", "1", "--probabilities", "--out", out / "slides"],
        ]
        for command in commands:
            code, printed = run(*command)
            assert code == 0, printed
    finally:
        os.umask(before)
    modes = {str(path.relative_to(out)): path.stat().st_mode & 0o777 for path in out.rglob("*")}
    wrong = {name: oct(mode) for name, mode in modes.items() if mode != (0o750 if (out / name).is_dir() else 0o640)}
    assert len(modes) > 50
    assert not wrong
