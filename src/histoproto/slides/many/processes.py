"""Several processes on this machine that share a list of slides; one that dies fails its slide only."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from histoproto.errors import HistoProtoError
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.labelling.tiles import default_readers
from histoproto.slides.many.job import Job, Outcome, do_job, job_steps, sweep
from histoproto.slides.many.lock import slide_lock
from histoproto.slides.options import SlideOptions
from histoproto.slides.steps import advance, finish

Tiles = Callable[[str, int, int], None]
"""Told of tiles done: the name of the slide, tiles done, tiles in all."""


@dataclass(frozen=True)
class Setup:
    """What a worker needs once: the run folder, device, number of threads (None: torch's own), output and options."""

    run: Path
    out: Path
    options: SlideOptions
    device: str = "auto"
    threads: int | None = None

    def shared(self, workers: int, threads: int) -> Setup:
        """For one of several workers on a machine with that many threads."""
        readers = self.options.readers or max(1, default_readers() // workers)
        options = replace(self.options, readers=readers)
        return replace(self, options=options, threads=max(1, threads // workers))

    def load(self) -> Segmenter:
        """The model, on its device."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return Segmenter.load(self.run, self.device, self.options.fast)


def in_this_process(jobs: deque[Job], setup: Setup, tiles: Tiles) -> Generator[Outcome, None, None]:
    """Do the jobs one by one, as `in_turn` does. Jobs may be added while it goes."""
    yield from in_turn(setup.load(), jobs, setup.out, setup.options, tiles)


def in_turn(
    segmenter: Segmenter, jobs: deque[Job], out: Path, options: SlideOptions, tiles: Tiles
) -> Generator[Outcome, None, None]:
    """Do the jobs one by one; a thread writes the results of each beside the windows of the next.

    At most two slides are in hand. Whoever stops early waits for what is being written.
    """
    writing: Future[Outcome] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="write") as writer:
        while jobs or writing:
            before, writing = writing, None
            if jobs:
                job = jobs.popleft()
                steps = job_steps(segmenter, job, out, options, _named(tiles, job.name))
                outcome = advance(steps)
                if outcome is None:
                    writing = writer.submit(finish, steps)
                else:
                    yield outcome
            if before is not None:
                yield before.result()  # whoever gets it may add a job


def in_processes(jobs: deque[Job], setup: Setup, workers: int, tiles: Tiles) -> Generator[Outcome, None, None]:
    """Do the jobs in several processes, each with the model, its share of the threads and (in turn) a GPU.

    Jobs may be added while it goes. A process that dies is replaced, its slide has failed. When the caller stops
    early, so do the processes, at once, and what they had in hand is cleared away.
    """
    crew: dict[Connection, _Worker] = {}
    started = 0
    try:
        while jobs or any(worker.job for worker in crew.values()):
            while jobs and len(crew) < workers:
                crew.update([_start(_share(setup, workers, started))])
                started += 1
            for connection, worker in crew.items():
                if jobs and worker.job is None:
                    worker.job = jobs.popleft()
                    with suppress(OSError):  # it is dead, as the next round will find
                        connection.send(worker.job)
            for ready in wait([*crew]):
                assert isinstance(ready, Connection)
                worker = crew[ready]
                try:
                    message = ready.recv()
                except (EOFError, OSError):
                    del crew[ready]
                    if outcome := worker.mourn(setup.out):
                        yield outcome
                    continue
                if isinstance(message, HistoProtoError):
                    raise message
                if isinstance(message, Outcome):
                    worker.job = None
                    yield message
                else:
                    tiles(*message)
    finally:
        for worker in crew.values():
            worker.process.kill()
        for worker in crew.values():
            worker.mourn(setup.out)


@dataclass
class _Worker:
    process: SpawnProcess
    job: Job | None = None

    def mourn(self, out: Path) -> Outcome | None:
        """Clear away what a dead process had in hand."""
        self.process.join()
        if self.job is None:
            return None
        with suppress(HistoProtoError, OSError), slide_lock(out, self.job.name) as lock:
            if lock is not None:
                sweep(out, self.job.name)
        code = self.process.exitcode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return Outcome(self.job, "failed", f"{self.job.task.path}: its process {how}, perhaps for want of memory")


def _share(setup: Setup, workers: int, number: int) -> Setup:
    gpus = torch.cuda.device_count()
    device = f"cuda:{number % gpus}" if setup.device in ("auto", "cuda") and gpus > 1 else setup.device
    return replace(setup.shared(workers, torch.get_num_threads()), device=device)


def _start(setup: Setup) -> tuple[Connection, _Worker]:
    context = get_context("spawn")  # a forked CUDA does not work
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, setup), daemon=True)
    with _without_interrupt():
        process.start()
    theirs.close()
    return ours, _Worker(process)


@contextmanager
def _without_interrupt() -> Iterator[None]:
    """Processes started here never see Ctrl-C, which is for the parent to answer."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(connection: Connection, setup: Setup) -> None:
    """A worker: jobs in, tiles and outcomes out, until the parent hangs up or is gone."""
    with suppress(EOFError, BrokenPipeError):
        try:
            segmenter = setup.load()
        except HistoProtoError as error:
            connection.send(error)
            return
        while True:
            job: Job = connection.recv()
            send = _named(lambda *message: connection.send(message), job.name)
            connection.send(do_job(segmenter, job, setup.out, setup.options, send))


def _named(tiles: Tiles, name: str) -> Callable[[int, int], None]:
    return lambda done, total: tiles(name, done, total)
