"""Where the curves of a training go, beside the run folder: Lightning's loggers by one setting."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.pytorch import loggers

from histoproto.config import Logger
from histoproto.errors import SettingError, first_line

PROJECT = "histoproto"
"""Project of Weights & Biases, experiment of MLflow."""


def make_logger(kind: Logger, out: Path) -> Any:
    """The logger that `training.logger` names. Those of others say nothing but losses and scores, under the run's name.

    Raises:
        SettingError: its package is not installed, or it cannot be set up.
    """
    if kind == "tensorboard":
        return loggers.TensorBoardLogger(out, name="", version="tensorboard")
    try:
        if kind == "wandb":
            return loggers.WandbLogger(project=PROJECT, name=out.name, save_dir=out)
        # What the user's environment says, or a data base in the run folder, which mlflow-skinny alone cannot write.
        if not (uri := os.environ.get("MLFLOW_TRACKING_URI")):
            import_module("sqlalchemy")
            uri = f"sqlite:///{(out / 'mlflow.db').resolve()}"
        return loggers.MLFlowLogger(experiment_name=PROJECT, run_name=out.name, tracking_uri=uri)
    except ImportError as error:
        raise SettingError(
            f"training.logger={kind} needs a package that is not installed; pip install {kind}, or choose tensorboard"
        ) from error
    except Exception as error:  # of the logger's own package, which has many
        raise SettingError(f"training.logger={kind} cannot be set up: {first_line(error)}") from error
