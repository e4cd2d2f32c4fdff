"""What the losses cost: a full LPD step against the same step with the classification loss alone, in one run.

    python benchmarks/training_step.py [--encoder NAME] [--size 128] [--batch 16] [--prototypes 10] [--steps 15]
                                       [--image] [--bf16] [--depthwise] [--memory] [--profile]

Steps of all variants take turns, so that whatever else the machine does hits them alike; medians of processor time (of
time on the clock on a GPU or several threads) are compared. Random pixels, three tissues of which each patch holds two:
the work does not depend on what is in a picture. `--image` adds the image refiner, which is slow; `--bf16` bfloat16;
`--depthwise` torch's own gradient of depthwise layers in place of ours (with `ONEDNN_MAX_CPU_ISA=AVX2
ATEN_CPU_CAPABILITY=avx2` before the command as on a processor without AVX-512); `--memory` runs each variant in a
process of its own for its peak memory; `--profile` shows where a full step goes.
"""

from __future__ import annotations

import argparse
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from histoproto.config import load_settings
from histoproto.data.dataset import Sample
from histoproto.methods.registry import build_method
from histoproto.model import atrous
from histoproto.model.depthwise import depthwise_conv2d, plain_depthwise_conv2d
from histoproto.model.teachers import Teacher

VARIANTS = {
    "classification": ["loss.diversity=0", "loss.similarity=0"],
    "+ diversity": ["loss.similarity=0"],
    "all (feature)": [],
    "all (image)": ["loss.refiner=image"],
}
BF16, PLAIN = ", bfloat16", ", plain depthwise"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--prototypes", type=int, default=10)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--warmup", type=int, default=2, help="steps of each variant that are not counted")
    parser.add_argument("--image", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--depthwise", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--only", help="one variant, for its peak memory")
    arguments = parser.parse_args()
    names = [name for name in VARIANTS if arguments.image or "image" not in name]
    names += [f"{name}{BF16}" for name in names if arguments.bf16]
    names += [f"{name}{PLAIN}" for name in names if arguments.depthwise]
    if arguments.only:
        step = build_step(arguments.only, arguments)
        step()
        step()
        print(own_peak())
        return
    device = pick_device()
    times = measure({name: build_step(name, arguments) for name in names}, arguments.steps, arguments.warmup)
    base = statistics.median(times["classification"])
    print(f"{arguments.encoder}, {arguments.size} px, batch {arguments.batch}, K = {arguments.prototypes}, ", end="")
    print(f"{device.type} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads, ", end="")
    print(f"median of {arguments.steps} steps\n")
    print("| losses | ms per step | ratio | peak GiB |\n|---|---|---|---|")
    for name, values in times.items():
        median = statistics.median(values)
        memory = f"{peak(name):.1f}" if arguments.memory else "–"
        print(f"| {name} | {1000 * median:.0f} | {median / base:.2f} | {memory} |")
    if arguments.depthwise:
        print(f"\n{one_layer(arguments.steps)}")
    if arguments.profile:
        profile(build_step("all (feature)", arguments))


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build_step(name: str, arguments: argparse.Namespace) -> Callable[[], float]:
    """One optimiser step of a variant; gives the seconds that it took."""
    torch.manual_seed(0)
    device = pick_device()
    images = torch.rand(arguments.batch, 3, arguments.size, arguments.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.tensor([[1.0, 1, 0], [0, 1, 1], [1, 0, 1]], device=device).repeat(arguments.batch, 1)
    batch = Sample(image=images, labels=labels[: arguments.batch])
    batch["teacher"] = Teacher("tf_efficientnet_lite0").to(device).dense(images)
    variant = name.removesuffix(PLAIN).removesuffix(BF16)
    depthwise = atrous.depthwise_conv2d
    weights = "imagenet" if arguments.encoder == "tf_efficientnet_lite0" else "null"
    common = [f"model.encoder={arguments.encoder}", f"model.weights={weights}"]
    overrides = [*common, f"model.prototypes={arguments.prototypes}", *VARIANTS[variant]]
    settings = load_settings(overrides=overrides)
    method = build_method(settings, torch.full((3,), 0.6)).to(device).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(method.parameter_groups())
    clock = time.perf_counter if device.type == "cuda" or torch.get_num_threads() > 1 else time.process_time

    def step() -> float:
        start = clock()
        atrous.depthwise_conv2d = plain_depthwise_conv2d if PLAIN in name else depthwise
        with torch.autocast(device.type, torch.bfloat16, enabled=BF16 in name):
            loss = method.losses(batch, progress=0.9)["total"]
        loss.backward()
        atrous.depthwise_conv2d = depthwise
        optimiser.step()
        optimiser.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - start

    return step


def measure(steps: dict[str, Callable[[], float]], count: int, warmup: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(count + warmup):
        for name, step in steps.items():
            seconds = step()
            if turn >= warmup:
                times[name].append(seconds)
    return times


def one_layer(count: int) -> str:
    """Forward and backward of one such layer alone, 64×1152×4×4 and 5×5 kernels, taking turns."""
    x, weight = torch.rand(64, 1152, 4, 4).contiguous(memory_format=torch.channels_last), torch.rand(1152, 1, 5, 5)
    weight.requires_grad_(True)

    def step(layer: Callable[..., torch.Tensor]) -> float:
        out = layer(x, weight, None)
        start = time.process_time()
        out.backward(torch.ones_like(out))
        return time.process_time() - start

    layers = {"torch": plain_depthwise_conv2d, "ours": depthwise_conv2d}
    times = measure({name: partial(step, layer) for name, layer in layers.items()}, count, 2)
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    found = ", ".join(f"{name} {median:.1f}" for name, median in medians.items())
    return f"one such gradient of the weights (64×1152×4×4), ms of a core: {found}"


def peak(name: str) -> float:
    """Peak memory in GiB of a process that does two steps of one variant."""
    command = [sys.executable, *sys.argv, "--only", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_peak() -> float:
    """Peak memory of this process in GiB. Linux counts the process that started it in `ru_maxrss`."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text()).group(1)) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def profile(step: Callable[[], float]) -> None:
    step()
    with torch.profiler.profile() as found:
        step()
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=45))


if __name__ == "__main__":
    main()
