"""Full supervision."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from histoproto.errors import DataError
from histoproto.training.run import train
from tiny import settings_of


def test_supervised_says_that_masks_are_missing(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "train", tmp_path / "data" / "train", ignore=shutil.ignore_patterns("mask"))
    shutil.copy(data / "classes.yaml", tmp_path / "data")
    with pytest.raises(DataError, match="--train-masks"):
        train(tmp_path / "data", tmp_path / "run", settings_of("supervised"))
    assert not (tmp_path / "run").exists()
