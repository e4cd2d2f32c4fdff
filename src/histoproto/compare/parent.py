"""A process that ends with the one that started it, however that one ends: also by SIGKILL, which nobody can catch.

The parent holds the only open end of a pipe that is the child's standard input. When the parent is gone the system
closes it, which the child sees on every system (Linux alone has a signal for it).
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any

PATIENCE = 10.0
"""Seconds between asking a process to end and ending it."""
_WATCHED = "HISTOPROTO_ENDS_WITH_PARENT"


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a Python process that calls `end_with_parent`; the pipe is its `stdin`. Options as of `Popen`."""
    environment = {**options.pop("env", os.environ), _WATCHED: "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, **options)


def end_with_parent() -> None:
    """From now on, when whoever `start`ed this process is gone, end it and all others of its process group."""
    if os.environ.get(_WATCHED):
        threading.Thread(target=_watch, name="parent", daemon=True).start()


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(PATIENCE)
    os.killpg(0, signal.SIGKILL)
