"""Two processes against one: training steps at the same global batch, and whole slides.

    python benchmarks/scaling.py [--batch 16] [--size 128] [--steps 12] [--run RUN --slides FOLDER]

One thread per process. Training: DistributedDataParallel over gloo, as Lightning does it, the batch shared by the
processes; that both end with the same weights is a test (`tests/test_training.py`). Besides time on the clock, which
means something on an idle machine alone, the processor time of one process is shown: it is what the clock would show
with a core for each process. Slides (Linux): `histoproto segment --workers 1` and `2`, each in a new process, in
turn, with as many cores as workers. The third row is one worker that may use two cores: it writes and draws in threads.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from histoproto.config import load_settings
from histoproto.data.dataset import Sample
from histoproto.methods.registry import build_method

WARMUP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--slides", type=Path)
    parser.add_argument("--model-mpp", type=float, default=1.0)
    parser.add_argument("--turns", type=int, default=2)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if arguments.run and arguments.slides:
        slides(arguments.run, arguments.slides, arguments.model_mpp, arguments.turns)
        return
    print(f"training, {arguments.size} px, global batch {arguments.batch}, median of {arguments.steps} steps\n")
    print("| processes | patches/s | speed-up | processor ms per step and process | speed-up, a core for each |")
    print("|---|---|---|---|---|")
    found = {world: train(world, arguments) for world in (1, 2)}
    for world, (wall, processor) in found.items():
        speedups = found[1][0] / wall, found[1][1] / processor
        rate = arguments.batch / wall
        print(f"| {world} | {rate:.1f} | {speedups[0]:.2f} | {1000 * processor:.0f} | {speedups[1]:.2f} |")


def train(world: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Median seconds per step, and processor seconds per step of the slowest process."""
    context: Any = torch.multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        address = f"file://{folder}/store"
        torch.multiprocessing.spawn(_train, (world, address, arguments, queue), nprocs=world)
    results = [queue.get() for _ in range(world)]
    return max(wall for wall, _ in results), max(processor for _, processor in results)


class _Loss(nn.Module):
    """`DistributedDataParallel` wants a module whose call is the loss."""

    def __init__(self, method: Any):
        super().__init__()
        self.method = method

    def forward(self, batch: Sample) -> Tensor:
        total: Tensor = self.method.losses(batch, progress=0.9)["total"]
        return total


def _train(rank: int, world: int, address: str, arguments: argparse.Namespace, queue: Any) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    torch.manual_seed(rank)
    method = build_method(load_settings(), torch.full((3,), 0.6)).to(memory_format=torch.channels_last).train()
    count = arguments.batch // world
    images = torch.rand(count, 3, arguments.size, arguments.size).contiguous(memory_format=torch.channels_last)
    labels = torch.tensor([[1.0, 1, 0], [0, 1, 1], [1, 0, 1]]).repeat(count, 1)[:count]
    assert method.cached_teacher is not None
    batch = Sample(image=images, labels=labels, teacher=method.cached_teacher.dense(images))
    loss = DistributedDataParallel(_Loss(method))
    optimiser = torch.optim.AdamW(method.parameter_groups())
    times = []
    for step in range(arguments.steps + WARMUP):
        start = time.perf_counter(), time.process_time()
        loss(batch).backward()
        optimiser.step()
        optimiser.zero_grad()
        if step >= WARMUP:
            times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    queue.put(tuple(statistics.median(column) for column in zip(*times, strict=True)))
    torch.distributed.destroy_process_group()


def slides(run: Path, folder: Path, model_mpp: float, turns: int) -> None:
    here = sorted(os.sched_getaffinity(0))
    layouts = {"1, one core": (1, here[:1]), "2, two cores": (2, here[:2]), "1, two cores": (1, here[:2])}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in layouts}
    for _ in range(turns):
        for name, (workers, cores) in layouts.items():
            with tempfile.TemporaryDirectory() as out:
                command = ["segment", str(run), str(folder), "--out", out, "--workers", str(workers)]
                command += ["--model-mpp", str(model_mpp)]
                before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
                os.sched_setaffinity(0, cores)  # which children inherit
                subprocess.run([sys.executable, "-m", "histoproto", *command], check=True, capture_output=True)
                wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
                found[name].append((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    print("| workers | s on the clock | speed-up | processor s |\n|---|---|---|---|")
    least = {name: [min(column) for column in zip(*times, strict=True)] for name, times in found.items()}
    for name, (wall, processor) in least.items():
        print(f"| {name} | {wall:.1f} | {least['1, one core'][0] / wall:.2f} | {processor:.1f} |")


if __name__ == "__main__":
    main()
