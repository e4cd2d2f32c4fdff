"""What the losses cost: a full LPD step against the same step with the classification loss alone, in one run.

    python benchmarks/training_step.py [--encoder NAME] [--size 128] [--batch 16] [--prototypes 10] [--image]

Steps of all variants take turns, so that whatever else the machine does hits them alike; medians are compared. Random
pixels, three tissues of which each patch holds two: the work of a step does not depend on what is in the picture.
`--image` also times the image refiner, which is slow.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from histoproto.config import load_settings
from histoproto.data.dataset import Sample
from histoproto.methods.registry import build_method
from histoproto.model.teachers import Teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--prototypes", type=int, default=10)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--image", action="store_true")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.rand(arguments.batch, 3, arguments.size, arguments.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.tensor([[1.0, 1, 0], [0, 1, 1], [1, 0, 1]], device=device).repeat(arguments.batch, 1)
    batch = Sample(image=images, labels=labels[: arguments.batch])
    batch["teacher"] = Teacher("tf_efficientnet_lite0").to(device).dense(images)

    variants = {
        "classification": ["loss.diversity=0", "loss.similarity=0"],
        "+ diversity": ["loss.similarity=0"],
        "all (feature)": [],
    }
    if arguments.image:
        variants["all (image)"] = ["loss.refiner=image"]
    steps = {}
    for name, overrides in variants.items():
        weights = "imagenet" if arguments.encoder == "tf_efficientnet_lite0" else "null"
        common = [f"model.encoder={arguments.encoder}", f"model.weights={weights}"]
        settings = load_settings(overrides=[*common, f"model.prototypes={arguments.prototypes}", *overrides])
        method = build_method(settings, torch.full((3,), 0.6)).to(device).to(memory_format=torch.channels_last).train()
        optimiser = torch.optim.AdamW(method.parameter_groups())

        def step(method=method, optimiser=optimiser) -> float:
            start = time.perf_counter()
            method.losses(batch, progress=0.9)["total"].backward()
            optimiser.step()
            optimiser.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - start

        steps[name] = step
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(arguments.steps + 2):
        for name, step in steps.items():
            seconds = step()
            if turn >= 2:  # the first steps warm up
                times[name].append(seconds)
    base = statistics.median(times["classification"])
    print(f"{arguments.encoder}, {arguments.size} px, batch {arguments.batch}, K = {arguments.prototypes}, ", end="")
    print(f"{device.type}, {torch.get_num_threads()} threads, median of {arguments.steps} steps\n")
    print("| losses | ms per step | ratio |\n|---|---|---|")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"| {name} | {1000 * median:.0f} | {median / base:.2f} |")


if __name__ == "__main__":
    main()
