"""A training that is killed at a step, to be resumed."""

from __future__ import annotations

import os
import signal

from forks import run


def train_until_killed(data: object, out: object, step: int, settings: list[str]) -> None:
    """Train until SIGKILL after this step, counted over all stages; 0: after all steps, before anything is saved."""
    done = run(_train, str(data), str(out), step, settings)
    assert done.returncode == -signal.SIGKILL, done.stderr


def _train(data: str, out: str, step: int, settings: list[str]) -> None:
    from histoproto.config import load_settings
    from histoproto.methods.registry import PRESETS
    from histoproto.training import callbacks
    from histoproto.training import run as training

    plain, steps = callbacks.Checkpoints.on_train_batch_end, 0

    def deadly(*arguments: object) -> None:
        nonlocal steps
        plain(*arguments)  # type: ignore[arg-type]
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks.Checkpoints.on_train_batch_end = deadly  # type: ignore[method-assign,assignment]
    if step == 0:
        training.save = lambda *parts: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[attr-defined]
    training.train(data, out, load_settings(overrides=settings, presets=PRESETS))  # type: ignore[arg-type]
