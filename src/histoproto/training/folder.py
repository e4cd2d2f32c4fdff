"""A run folder: its files, its settings, and that no run overwrites another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from histoproto.config import Settings, load_settings
from histoproto.errors import RunError
from histoproto.files import replace_atomically, sweep_partial
from histoproto.lock import folder_lock
from histoproto.methods.registry import resolve
from histoproto.model.saving import CARD_FILE, FAMILIAR_FILE, WEIGHTS_FILE
from histoproto.training.begun import CHECKPOINTS, Begun

CONFIG_FILE, RECORD_FILE, HISTORY_FILE, PROGRESS_FILE = "config.yaml", "record.json", "history.csv", "progress.json"
WRITTEN = (
    *(WEIGHTS_FILE, CARD_FILE, FAMILIAR_FILE, HISTORY_FILE, PROGRESS_FILE, RECORD_FILE, "metrics.json", "report.html"),
    *(CHECKPOINTS, "tensorboard", "pseudo-masks"),
)
"""What a run comes to hold beside its settings."""


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
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; give a folder for the run")
    if not is_beside():
        if config.exists():
            raise RunError(f"{out} already holds a run; continue it with --resume, or give another folder")
        if there := [name for name in WRITTEN if os.path.lexists(out / name)]:
            raise RunError(
                f"{out / there[0]} is there already, of no run; training would write over it, so give another folder"
            )
    return resolve(settings or Settings())


def is_beside() -> bool:
    """Whether this is one of several processes that train together, but not the first, which keeps the folder."""
    return bool(rank_zero_only.rank > 0) or os.environ.get("NODE_RANK", "0") != "0"


@contextmanager
def only_process(out: Path) -> Iterator[None]:
    """Be the only run that works in a folder, with what a dead one has left half-written swept.

    Raises:
        RunError: another process is at work in it; or this one was taken for dead, and another has taken over.
    """
    if is_beside():
        yield
        return
    with folder_lock(out) as lock:
        for folder in (out, out / CHECKPOINTS):
            sweep_partial(folder)
        yield
        if lock.compromise:
            raise RunError(
                f"this machine was silent so long that another process took over {out}; train in another one"
            )


def begin(out: Path, settings: Settings, begun: Begun) -> None:
    """Write every setting, resolved, and on which data they act, to the run folder."""
    if not (out / CONFIG_FILE).exists():
        with replace_atomically(out / CONFIG_FILE, lasting=True) as temporary:
            temporary.write_text(settings.to_yaml(), encoding="utf-8")
    begun.check(out)
