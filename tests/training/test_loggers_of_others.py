"""Weights & Biases and MLflow themselves, once: offline, into the run folder and nowhere else."""

from __future__ import annotations

import csv
import importlib.util
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from places import ROOT
from short_run import TINY


def train(data: Path, tmp_path: Path, kind: str) -> Path:
    """A run with that logger, in a process of its own: both packages start others, and keep what they know."""
    run, home = tmp_path / "run", tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "MLFLOW_", "XDG_"))}
    kept |= {"HOME": str(home), "PYTHONPATH": str(ROOT / "src"), "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    kept |= {"WANDB_MODE": "offline", "MLFLOW_DISABLE_TELEMETRY": "true"}
    kept |= {f"WANDB_{name}_DIR": str(tmp_path / "wandb") for name in ("CACHE", "CONFIG", "DATA")}
    settings = [word for setting in (*TINY, f"training.logger={kind}") for word in ("--set", setting)]
    command = [sys.executable, "-m", "histoproto", "train", str(data), "--out", str(run), "--no-report", *settings]
    done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [path for path in home.rglob("*") if path.is_file()]
    return run


@pytest.mark.slow
def test_weights_and_biases(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run = train(data, tmp_path, "wandb")
    (written,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    for name in (b"classification", b"total", b"run"):
        assert name in written.read_bytes()


@pytest.mark.slow
def test_mlflow(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    run = train(data, tmp_path, "mlflow")
    with closing(sqlite3.connect(run / "mlflow.db")) as base:
        assert base.execute("SELECT name, status FROM runs").fetchall() == [("run", "FINISHED")]
        logged = [value for (value,) in base.execute("SELECT value FROM metrics WHERE key = 'total' ORDER BY step")]
    with (run / "history.csv").open(newline="") as file:
        history = [float(row["total"]) for row in csv.DictReader(file) if row["total"]]
    assert history
    assert logged == pytest.approx(history)


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="pip install mlflow-skinny")
def test_mlflow_without_its_data_base_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from histoproto.errors import SettingError
    from histoproto.training.loggers import make_logger

    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SettingError, match=r"logger=mlflow needs .*; pip install mlflow, or choose tensorboard"):
        make_logger("mlflow", tmp_path)
