"""A run folder: its files, its settings, and that no run overwrites another."""

from __future__ import annotations

import os
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from histoproto.config import Settings, load_settings
from histoproto.errors import RunError
from histoproto.files import replace_atomically
from histoproto.methods.registry import resolve

CONFIG_FILE, RECORD_FILE, HISTORY_FILE = "config.yaml", "record.json", "history.csv"


def settings_for(out: Path, settings: Settings | None, resume: bool) -> Settings:
    """The settings to use; makes sure that no finished or foreign run is overwritten."""
    config = out / CONFIG_FILE
    if resume:
        if not config.is_file():
            raise RunError(f"{out} holds no run to resume ({CONFIG_FILE} is missing); leave out --resume to start one")
        recorded = load_settings(config)
        if settings is not None and resolve(settings) != recorded:
            raise RunError(
                f"{config} holds other settings than those given; resume without settings, or use another folder"
            )
        return recorded
    # Processes beside the first find the folder that it has made.
    beside = rank_zero_only.rank > 0 or os.environ.get("NODE_RANK", "0") != "0"
    if config.exists() and not beside:
        raise RunError(f"{out} already holds a run; continue it with --resume, or give another folder")
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; give a folder for the run")
    return resolve(settings or Settings())


def write_config(out: Path, settings: Settings) -> None:
    """Write every setting, resolved, to the run folder."""
    with replace_atomically(out / CONFIG_FILE) as temporary:
        temporary.write_text(settings.to_yaml(), encoding="utf-8")
