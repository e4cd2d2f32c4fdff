"""The record of a run: enough to tell, a year later, what was run, on what, and with which versions."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from histoproto.documents.json_file import read_json
from histoproto.documents.shapes import as_form
from histoproto.files import replace_atomically
from histoproto.plugins import KINDS, offered

_PACKAGES = ("histoproto", "torch", "torchvision", "timm", "lightning", "transformers", "numpy", "safetensors")


def environment() -> dict[str, Any]:
    """Versions, machine and git state, as plain values."""
    return {
        "arguments": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {name: _version(name) for name in _PACKAGES},
        "plugins": {f"{kind} {name}": package for kind in KINDS for name, package in offered(kind).items()},
        "git": _git_state(),
    }


def peak_memory_mib() -> float:
    """The largest resident size of this process so far, in MiB.

    On Linux from `/proc`: `ru_maxrss` of a child begins with what its parent had held, and exec does not reset it.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        status = ""  # not Linux
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024  # "VmHWM:  1234 kB", which are KiB
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def processor_seconds() -> float:
    """Processor time of this process and its ended children so far, over all cores: what training costs, however busy
    the machine is otherwise."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Write as JSON, atomically."""
    with replace_atomically(path, lasting=True) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")


class _Figures(BaseModel):
    """What others compute with, of all that a record holds."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    seconds: float = 0
    processor_seconds: float = 0
    parameters: int = 0
    peak_memory_mib: float = 0
    epochs: int | None = None
    finished: str = ""


def read_record(path: Path) -> dict[str, Any]:
    """The record of a run; nothing where there is none.

    Raises:
        DocumentError: it is damaged, or of something else.
    """
    if not path.exists():
        return {}
    content: dict[str, Any] = read_json(path)
    as_form(content, _Figures, str(path))
    return content


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Commit of the source tree and whether it was changed; None for an installed package."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        if not git("ls-files", __file__):
            return None
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return None
