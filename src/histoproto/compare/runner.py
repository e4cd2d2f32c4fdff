"""Running a comparison: every row with every seed, some at a time, resumable, one failure not stopping the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event

from histoproto.compare import parent
from histoproto.compare.folds import fold_data
from histoproto.compare.plan import Plan, Variant
from histoproto.compare.work import Job


@dataclass(frozen=True)
class Task:
    """One run: its row, its seed, its folder and, if it is another run's second stage, that run's."""

    variant: Variant
    seed: int
    run: Path
    first: Path | None = None
    fold: int | None = None
    data: Path | None = None
    """That of its fold; None: that of the comparison."""

    @property
    def log(self) -> Path:
        """All that the run has printed, of every attempt."""
        return self.run.with_suffix(".log")

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.variant.label}, seed {self.seed}" + ("" if self.fold is None else f", fold {self.fold}")


@dataclass
class Runner:
    """Runs tasks in processes of their own.

    Attributes:
        data: the data folder.
        jobs: runs at a time; each gets its share of the cores.
        paper: measure under the protocol `paper` too.
        tell: is given a line for each run that is done.
        finished: is called after each run, e.g. to write the table.
    """

    data: Path
    jobs: int = 1
    paper: bool = False
    tell: Callable[[str], None] = print
    finished: Callable[[Task], str] = lambda task: ""
    _children: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _stopped: Event = field(default_factory=Event)

    def run(self, tasks: Sequence[Task]) -> list[Task]:
        """Run tasks to the end; those that failed are returned.

        KeyboardInterrupt stops what is running (it goes on there the next time) and is passed on.
        """
        failed = []
        started = time.monotonic()
        waiting = list(tasks)
        with ThreadPoolExecutor(self.jobs) as pool:
            futures: dict[Future[int], Task] = {}
            try:
                for done in range(1, len(tasks) + 1):
                    self._fill(pool, futures, waiting)
                    future = next(as_completed(futures))
                    task, code = futures.pop(future), future.result()
                    if code:
                        failed.append(task)
                    result = f"FAILED: {reason(task.log, code)} (see {task.log})" if code else self.finished(task)
                    each = (time.monotonic() - started) / done
                    left = f"; about {each * (len(tasks) - done) / 60:.0f} min left" if done < len(tasks) else ""
                    self.tell(f"[{done}/{len(tasks)}] {task.name}: {result}{left}")
            except BaseException:
                self._stop()
                pool.shutdown(cancel_futures=True)
                raise
        return failed

    def _fill(self, pool: ThreadPoolExecutor, futures: dict[Future[int], Task], waiting: list[Task]) -> None:
        """Give the pool what it can do now; a second stage waits for its first."""
        unfinished = {task.run for task in (*waiting, *futures.values())}
        ready = [task for task in waiting if task.first not in unfinished]
        for task in ready[: self.jobs - len(futures)]:
            waiting.remove(task)
            futures[pool.submit(self._one, task)] = task

    def _one(self, task: Task) -> int:
        if self._stopped.is_set():
            return -signal.SIGTERM
        first = None if task.first is None else str(task.first)
        job = Job(str(task.data or self.data), str(task.run), tuple(self._options(task)), self.paper, first)
        threads = max(1, (os.cpu_count() or 1) // self.jobs)
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "histoproto.compare.work", json.dumps(asdict(job))]
        task.log.parent.mkdir(parents=True, exist_ok=True)
        with task.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal reaches us alone, and we end it; or it ends because we do.
            child = parent.start(command, stdout=log, stderr=log, env=environment, start_new_session=True)
            self._children.add(child)
            if self._stopped.is_set():  # between the question above and here
                _end(child)
            code = child.wait()
        self._children.discard(child)
        return code

    def _options(self, task: Task) -> list[str]:
        """Options of `histoproto train`; workers that load patches get the cores that are left."""
        workers = max(0, min(8, (os.cpu_count() or 1) // self.jobs - 1))
        settings = [f"data.workers={workers}", *task.variant.settings]
        return [
            *("--method", task.variant.method, "--seed", str(task.seed)),
            *(["--second-stage"] if task.variant.second_stage else []),
            *(part for setting in settings for part in ("--set", setting)),
        ]

    def _stop(self) -> None:
        self._stopped.set()
        for child in list(self._children):
            _end(child)


def plan_tasks(plan: Plan, out: Path, variants: Sequence[Variant] | None = None) -> list[Task]:
    """Every row with seed 0, then with seed 1 …, so that there is soon something to compare.

    A row that is another with a second stage comes after it and begins with what it has trained.
    """
    folds: list[tuple[int | None, Path | None]] = [(fold, fold_data(out, fold)) for fold in range(plan.folds)]
    rows = sorted(variants or plan.variants, key=lambda row: row.second_stage)
    return [
        Task(row, seed, row.run(out, seed, fold), first.run(out, seed, fold) if first else None, fold, data)
        for seed in range(plan.seeds)
        for row in rows
        for fold, data in folds or [(None, None)]
        for first in [_without_second_stage(row, rows)]
    ]


def _without_second_stage(row: Variant, rows: Sequence[Variant]) -> Variant | None:
    """The row that trains the first stage of another, if there is one."""
    if not row.second_stage:
        return None
    own = tuple(setting for setting in row.settings if not setting.startswith("training.second_stage"))
    same = [r for r in rows if (r.method, r.settings) == (row.method, own) and not r.has_two_stages]
    return same[0] if same else None


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child and what it has started. (SIGINT is ignored by all that a script starts in the background.)"""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGTERM)


def reason(log: Path, code: int) -> str:
    """Why a run failed: the last line of its log that says something, or the signal that ended it."""
    if code < 0:
        return f"ended by signal {-code}"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {code}"
