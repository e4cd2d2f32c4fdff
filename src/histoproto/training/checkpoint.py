"""The file from which a run goes on, and the one before it in case that is damaged."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import torch

from histoproto.errors import RunError
from histoproto.printable import printable

STATE = "Checkpoints"
"""Under which a checkpoint holds what the callback of that name keeps."""


def find_checkpoint(newest: Path, former: Path, key: str) -> Path | None:
    """The newest checkpoint that is whole and of this run; None if there never was one.

    Args:
        newest: the last one written.
        former: the one before it.
        key: of the run, which its checkpoints carry (`Begun.key`).

    Raises:
        RunError: there are checkpoints, but none that can be used.
    """
    wrong = {path: why for path in (newest, former) if path.exists() and (why := _why_unusable(path, key))}
    usable = [path for path in (newest, former) if path.exists() and path not in wrong]
    reasons = "; ".join(f"{path} {why}" for path, why in wrong.items())
    if wrong and not usable:
        raise RunError(f"{reasons}; remove what is damaged to train from the beginning, or use another folder")
    if wrong:
        text = f"note: {reasons}; going on from the one before it"
        print(printable(text), file=sys.stderr)
    return usable[0] if usable else None


def _why_unusable(path: Path, key: str) -> str | None:
    """What is wrong with a checkpoint; every byte of it is read, for a power cut may leave zeros in the middle."""
    if path.stat().st_size == 0:
        return "is empty"
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return "is damaged"
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
        found = content["callbacks"][STATE]["run"]
    except Exception:  # damaged and foreign files fail in many ways, all of which mean the same to a user
        return "is damaged, or no checkpoint of HistoProto"
    return None if found == key else "is of another run"
