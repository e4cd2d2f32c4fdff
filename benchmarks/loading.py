"""Does training wait for its patches? Steps on real patches beside steps on one batch that is in memory already.

    python benchmarks/loading.py DATA [--workers N] [--threads 1] [--block 10] [--blocks 8] [--batch 16]

Blocks of steps on real and on cached batches take turns; the first two real steps of a block are not counted, as they
find batches that were loaded meanwhile. Shown are medians on the clock, and what one patch costs to load in processor
time. Workers: as in training, one less than the cores at hand.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from histoproto.config import load_settings
from histoproto.data.dataset import Augmentation, PatchDataset, ResumableLoader, Sample, StepSampler
from histoproto.data.images import read_image
from histoproto.data.layouts import open_data
from histoproto.methods.registry import build_method
from histoproto.training.teacher_maps import write_teacher_maps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--workers", type=int, default=min(8, (os.cpu_count() or 1) - 1))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--block", type=int, default=10)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = load_settings()
    folder = open_data(arguments.data)
    patches = list(folder.train)[: arguments.batch * 24]
    size = min(read_image(patches[0].image).shape[:2])
    frequency = torch.tensor([patch.labels for patch in patches], dtype=torch.float32).mean(dim=0)
    method = build_method(settings, frequency).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(method.parameter_groups())
    with tempfile.TemporaryDirectory() as temporary:
        maps = Path(temporary) / "teacher.npy"
        plain = PatchDataset(patches, size)
        write_teacher_maps(plain, method.cached_teacher, maps, torch.device("cpu"), 0)
        dataset = PatchDataset(patches, size, Augmentation(settings.data.stain_jitter), maps)
        sampler = StepSampler(len(dataset), arguments.batch, epochs=1000)
        batches = iter(ResumableLoader(dataset, sampler, lambda: 0, arguments.workers))
        cached = next(batches)

        def step(batch: Sample) -> None:
            method.losses(batch, progress=0.9)["total"].backward()
            optimiser.step()
            optimiser.zero_grad()

        times: dict[str, list[float]] = {"real": [], "cached": [], "waiting": []}
        for block in range(arguments.blocks + 1):
            for kind in ("real", "cached"):
                for turn in range(arguments.block):
                    start = time.perf_counter()
                    batch = next(batches) if kind == "real" else cached
                    got = time.perf_counter()
                    step(batch)
                    if block and turn >= 2:
                        times[kind].append(time.perf_counter() - start)
                        if kind == "real":
                            times["waiting"].append(got - start)
        start = time.process_time()
        for index in range(128):
            dataset[0, index]
        load = (time.process_time() - start) / 128
    medians = {kind: 1000 * statistics.median(values) for kind, values in times.items()}
    print(f"{size} px, batch {arguments.batch}, {arguments.threads} thread(s), {arguments.workers} worker(s)\n")
    print("| ms per step, cached batch | real patches | ratio | of it waiting | loading a patch, ms of a core |")
    print("|---|---|---|---|---|")
    print(f"| {medians['cached']:.0f} | {medians['real']:.0f} | {medians['real'] / medians['cached']:.3f} | ", end="")
    print(f"{medians['waiting']:.1f} | {1000 * load:.2f} |")


if __name__ == "__main__":
    main()
