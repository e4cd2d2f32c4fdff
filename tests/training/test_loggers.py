"""Curves elsewhere by one setting; a package that is missing is one sentence."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from histoproto.errors import SettingError
from histoproto.training.loggers import make_logger

MISSING = [name for name in ("wandb", "mlflow") if importlib.util.find_spec(name) is None]


def test_the_default_draws_in_the_run_folder(tmp_path: Path) -> None:
    logger = make_logger("tensorboard", tmp_path)
    logger.log_metrics({"total": 1.0}, 0)
    logger.save()
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.parametrize("kind", ["wandb", "mlflow"])
def test_a_missing_package_is_one_sentence(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise ModuleNotFoundError(f"No module named {kind!r}")

    for name in ("WandbLogger", "MLFlowLogger"):
        monkeypatch.setattr(f"lightning.pytorch.loggers.{name}", absent)
    with pytest.raises(SettingError, match=f"logger={kind} needs .*; pip install {kind}, or choose tensorboard"):
        make_logger(kind, tmp_path)  # type: ignore[arg-type]


def test_a_logger_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("not logged in\nand more")

    monkeypatch.setattr("lightning.pytorch.loggers.WandbLogger", refuse)
    with pytest.raises(SettingError, match=r"logger=wandb cannot be set up: not logged in$"):
        make_logger("wandb", tmp_path)
