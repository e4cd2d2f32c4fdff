"""The same on several machines, through Ray: one actor per GPU, or per machine where there are none."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from histoproto.errors import HistoProtoError, SettingError
from histoproto.slides.many.job import Job, Outcome, do_job
from histoproto.slides.many.processes import Setup


def on_ray(jobs: deque[Job], setup: Setup, workers: int | None, address: str | None) -> Generator[Outcome, None, None]:
    """Do the jobs on a Ray cluster. Jobs may be added while it goes; an actor that dies fails its slide only.

    All machines must have HistoProto installed and find run folder, slides and output under the same paths.

    Args:
        jobs: the slides.
        setup: paths and options.
        workers: number of actors; None: one per GPU of the cluster, or one per machine if it has none.
        address: of a cluster (`auto`: the one this machine belongs to); None: a new one, on this machine alone.

    Raises:
        SettingError: Ray is not installed, or no cluster answers at the address.
    """
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError as error:
        raise SettingError("--engine ray needs Ray; install it with: pip install 'histoproto[ray]'") from error
    ours = not ray.is_initialized()
    if ours:
        try:
            _knock(address)
            ray.init(address=address, include_dashboard=None if address else False, log_to_driver=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise SettingError(f"no Ray cluster answers at {address!r}: {str(error).splitlines()[0]}") from error
    machines = sum(node["Alive"] for node in ray.nodes())
    gpus = int(ray.cluster_resources().get("GPU", 0))
    workers = workers or gpus or machines
    need = {"num_gpus": 1} if gpus else {"num_cpus": 1}
    actor = ray.remote(_Actor).options(scheduling_strategy="SPREAD", **need)
    crew: list[Any] = []
    in_hand: dict[Any, tuple[Any, Job]] = {}
    setup = replace(setup, run=setup.run.absolute(), out=setup.out.absolute())
    try:
        while jobs or in_hand:
            idle = [member for member in crew if member not in [holder for holder, _ in in_hand.values()]]
            while jobs and len(in_hand) < workers:
                if not idle:
                    crew.append(actor.remote(setup, -(-workers // machines)))
                    idle.append(crew[-1])
                member, job = idle.pop(), jobs.popleft()
                in_hand[member.do.remote(job)] = member, job
            (done,), _ = ray.wait([*in_hand], num_returns=1)
            member, job = in_hand.pop(done)
            try:
                answer = ray.get(done)
            except RayError as error:
                crew.remove(member)
                answer = Outcome(job, "failed", f"{job.task.path}: its worker died: {str(error).splitlines()[0]}")
            if isinstance(answer, HistoProtoError):
                raise answer
            yield answer
    finally:
        for member in crew:
            ray.kill(member)
        if ours:
            ray.shutdown()


def _knock(address: str | None) -> None:
    """Raise an `OSError` if nothing answers at HOST:PORT; Ray would try again for many minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


class _Actor:
    """A model on one of the machines."""

    def __init__(self, setup: Setup, sharers: int) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.setup = setup.shared(sharers, cores)  # torch itself would take one thread, as Ray asks it to
        self.segmenter: Any = None

    def do(self, job: Job) -> Outcome | HistoProtoError:
        """An outcome; or why the model cannot be loaded, which no other slide would change."""
        try:
            self.segmenter = self.segmenter or self.setup.load()
        except HistoProtoError as error:
            return error
        return do_job(self.segmenter, job, self.setup.out, self.setup.options)
