"""What happens around the steps: weight averaging, checkpoints, a history of the losses, progress."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor

from histoproto.documents.tables import write_table
from histoproto.files import replace_atomically

LOSSES = ("classification", "diversity", "similarity", "total")


class WeightAveraging(lightning.Callback):
    """Takes the weights into their average once that has begun; comes before whatever writes a checkpoint."""

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After each step."""
        if module.averaged is not None and trainer.global_step >= module.averaged_from:
            module.averaged.update_parameters(module.method.network)


class Checkpoints(lightning.Callback):
    """Keeps `resume.ckpt`, from which training goes on exactly, and `best.safetensors`, the best weights so far.

    Beside the first lies the one before it, in case the last is damaged. Checkpoints carry the key of the run.

    Best is the latest that is within one standard error of the highest `criterion`, a logged score, in the second half
    of training (see `selection`). Without a criterion only the first file is kept.
    """

    def __init__(self, folder: Path, every: int, criterion: str | None, run: str = ""):
        self.folder, self.every, self.criterion, self.run = folder, every, criterion, run
        self.best: dict[str, float] = {}
        self.bar = -np.inf

    @property
    def best_path(self) -> Path:
        """Weights of the best checkpoint."""
        return self.folder / "best.safetensors"

    @property
    def resume_path(self) -> Path:
        """Lightning's checkpoint for resuming."""
        return self.folder / "resume.ckpt"

    @property
    def former_path(self) -> Path:
        """The checkpoint before that."""
        return self.folder / "resume-former.ckpt"

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Every `every` steps, except where validation comes next: a checkpoint then follows that."""
        validated = self.criterion is not None and trainer.global_step % module.validate_every == 0
        if trainer.global_step % self.every == 0 and not validated:
            self._save(trainer)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Keep the weights if they are the best, and write a checkpoint."""
        if self.criterion is None:
            return
        score = float(trainer.callback_metrics[self.criterion])
        error = float(trainer.callback_metrics.get(f"{self.criterion}_error", 0.0))
        late = 2 * trainer.global_step >= module.total_steps
        if late and score >= self.bar:
            self.bar = max(self.bar, score - error)
            self.best = {"score": score, "step": trainer.global_step}
            if trainer.is_global_zero:
                with replace_atomically(self.best_path, lasting=True) as temporary:
                    save_file(module.state_to_keep(), temporary)
        self._save(trainer)

    def _save(self, trainer: Any) -> None:
        # All processes take part, one writes.
        writing: AbstractContextManager[Path] = nullcontext(self.resume_path)
        if trainer.is_global_zero:
            writing = replace_atomically(self.resume_path, lasting=True, former=self.former_path)
        with writing as path:
            trainer.save_checkpoint(path)

    def state_dict(self) -> dict[str, Any]:
        """The run, the best score and its step."""
        return {"run": self.run, "best": self.best, "bar": self.bar}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.best, self.bar = state_dict["best"], state_dict["bar"]


class History(lightning.Callback):
    """Writes `history.csv`: the mean of each loss over every `interval` steps, and validation scores as they come.

    It is part of the checkpoint, so a resumed run continues the table where it was. On the disk it is at most a second
    old (`every`), for steps on kept features take less time than writing it.
    """

    def __init__(self, path: Path, interval: int, steps_per_epoch: int, every: float = 1.0):
        self.path, self.interval, self.steps_per_epoch, self.every = path, interval, steps_per_epoch, every
        self._written = 0.0
        self.rows: list[dict[str, float]] = []
        self._window: dict[str, list[float]] = defaultdict(list)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Collect; write a row at the end of each interval."""
        for name, value in trainer.callback_metrics.items():
            if not name.startswith("val_"):
                self._window[name].append(float(value))
        if trainer.global_step % self.interval == 0 or trainer.global_step == module.total_steps:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            means = {name: float(np.mean(values)) for name, values in self._window.items()}
            self._window.clear()
            self._add(trainer, means | {"learning_rate": rate})
            if trainer.global_step == module.total_steps or time.monotonic() - self._written >= self.every:
                self._write(trainer)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """A row with the validation scores."""
        self._add(trainer, {n: float(v) for n, v in trainer.callback_metrics.items() if n.startswith("val_")})
        self._write(trainer)

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """What led to it is there to look at; before the first row, the table of an earlier try is left alone."""
        if self.rows:
            self._write(trainer)

    def _add(self, trainer: Any, values: dict[str, float]) -> None:
        step = trainer.global_step
        self.rows.append({"step": step, "epoch": step / self.steps_per_epoch, **values})

    def _write(self, trainer: Any) -> None:
        self._written = time.monotonic()
        if trainer.is_global_zero:
            columns = list(dict.fromkeys(name for row in self.rows for name in row))
            write_table(self.path, columns, ([row.get(name) for name in columns] for row in self.rows))

    def state_dict(self) -> dict[str, Any]:
        """Rows so far and the open interval."""
        return {"rows": self.rows, "window": dict(self._window)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.rows = state_dict["rows"]
        self._window = defaultdict(list, state_dict["window"])


class Pace(lightning.Callback):
    """Writes `progress.json` at most once a second while it trains: `step` of `steps`, and `left`, the seconds that the
    rest will take at the pace since this process began (null before the first step). At the end it is removed.
    """

    def __init__(self, path: Path, every: float = 1.0):
        self.path, self.every = path, every
        self._began, self._first, self._told = 0.0, 0, 0.0

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """The first step, or the one to go on from."""
        self._began, self._first = time.monotonic(), trainer.global_step
        self._tell(trainer, module)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After each step, unless this was told just now."""
        if time.monotonic() - self._told >= self.every:
            self._tell(trainer, module)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """It is done; one that was stopped leaves the file."""
        if trainer.is_global_zero:
            self.path.unlink(missing_ok=True)

    def _tell(self, trainer: Any, module: Any) -> None:
        self._told = time.monotonic()
        step, steps = trainer.global_step, module.total_steps
        pace = (self._told - self._began) / (step - self._first) if step > self._first else None
        content = {"step": step, "steps": steps, "left": None if pace is None else round((steps - step) * pace, 1)}
        if trainer.is_global_zero:
            with replace_atomically(self.path) as temporary:
                temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


class ProgressBar(lightning.pytorch.callbacks.ProgressBar):
    """One bar over all steps with the time left and the current losses; a line per epoch where there is no terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(markup=False)
        self._bar: Progress | None = None

    def disable(self) -> None:
        """Asked for by Lightning in processes beside the first, which show nothing anyway."""

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Show the bar."""
        if trainer.is_global_zero and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[losses]}"),
                console=self._console,
            )
            self._bar.add_task("steps", total=module.total_steps, completed=trainer.global_step, losses="")
            self._bar.start()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Advance the bar."""
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=trainer.global_step, losses=_line(trainer.callback_metrics))

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """A line per epoch into log files."""
        if trainer.is_global_zero and self._bar is None:
            line = f"step {trainer.global_step}/{module.total_steps}: {_line(trainer.callback_metrics)}"
            self._console.print(line, soft_wrap=True)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Leave the finished bar on the screen."""
        self._stop()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _line(metrics: dict[str, Tensor]) -> str:
    shown = [f"{name} {float(metrics[name]):.3f}" for name in (*LOSSES, "val_map", "val_miou") if name in metrics]
    return "  ".join(shown)
