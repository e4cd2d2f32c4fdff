"""The diversity loss against a loop over patches, tissues and pairs of prototypes: time, and memory for the gradient.

    python benchmarks/diversity.py [--batch 10] [--tissues 4] [--side 14] [--repeats 5] [--profile]

Forward and backward, one thread. The loop is the formula as one would write it down, with all locations of a pair at
once: a stronger opponent than the reference of the tests, which also loops over locations. Both take turns.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from histoproto.losses.diversity import diversity_loss, pseudo_regions

TEMPERATURE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--tissues", type=int, default=4)
    parser.add_argument("--side", type=int, default=14)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shape = (arguments.batch, arguments.tissues)
    print(f"batch {shape[0]}, C = {shape[1]}, forward and backward, least processor time of {arguments.repeats}\n")
    print("| K | locations | loop, ms | loss, ms | ratio | largest difference of the gradient |")
    print("|---|---|---|---|---|---|")
    for prototypes in (3, 10):
        cosines, regions = example(*shape, prototypes, arguments.side)
        fast, slow = gradient(diversity_loss, cosines, regions), gradient(loop, cosines, regions)
        difference = (fast - slow).abs().max() / slow.abs().max()
        jobs = [partial(gradient, loss, cosines, regions) for loss in (loop, diversity_loss)]
        least = turns(jobs, arguments.repeats)
        row = f"| {prototypes} | {arguments.side}² | {least[0]:.1f} | {least[1]:.2f} | {least[0] / least[1]:.0f}× |"
        print(f"{row} {difference:.0e} of the largest |")
    print("\n| K | locations | kept for the backward pass, MiB |\n|---|---|---|")
    for prototypes, side in itertools.product((5, 10, 20), (14, 28, 56)):
        print(f"| {prototypes} | {side}² | {kept(*example(*shape, prototypes, side)):.1f} |")
    if arguments.profile:
        for name, loss in (("loop", loop), ("loss", diversity_loss)):
            with torch.profiler.profile() as found:
                gradient(loss, cosines, regions)
            print(name, found.key_averages().table(sort_by="self_cpu_time_total", row_limit=8))


def example(batch: int, tissues: int, prototypes: int, side: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(batch, tissues, prototypes, side, side, generator=generator) * 2 - 1
    merged = torch.randn(batch, tissues, side, side, generator=generator)
    return cosines.requires_grad_(), pseudo_regions(merged, torch.ones(batch, tissues))


def loop(cosines: Tensor, regions: Tensor, temperature: float) -> Tensor:
    values = []
    for b, c in itertools.product(range(cosines.shape[0]), range(cosines.shape[1])):
        if not regions[b, c].any():
            continue
        v = [torch.softmax(cosines[b, c, k][regions[b, c]] / temperature, dim=0) for k in range(cosines.shape[2])]
        pairs = []
        for i, j in itertools.combinations(range(len(v)), 2):
            divergence = (v[i] * (v[i] / v[j]).log()).sum() + (v[j] * (v[j] / v[i]).log()).sum()
            pairs.append(torch.exp(-divergence))
        values.append(torch.stack(pairs).mean())
    return torch.stack(values).mean()


def gradient(loss: Callable[[Tensor, Tensor, float], Tensor], cosines: Tensor, regions: Tensor) -> Tensor:
    return torch.autograd.grad(loss(cosines, regions, TEMPERATURE), cosines)[0]


def turns(jobs: list[Callable[[], object]], repeats: int) -> list[float]:
    """Least processor time of each job in ms."""
    least = [float("inf")] * len(jobs)
    for turn in range(repeats + 1):
        for index, job in enumerate(jobs):
            start = time.process_time()
            job()
            if turn:  # the first turn warms up
                least[index] = min(least[index], 1000 * (time.process_time() - start))
    return least


def kept(cosines: Tensor, regions: Tensor) -> float:
    """MiB of distinct memory that autograd keeps."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        diversity_loss(cosines, regions, TEMPERATURE)
    return sum(storages.values()) / 2**20


if __name__ == "__main__":
    main()
