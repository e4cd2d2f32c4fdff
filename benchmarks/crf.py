"""The dense CRF against pydensecrf2: the same labels, and how fast.

    python benchmarks/crf.py REGIONS [--run RUN] [--size 224] [--agreement 24] [--batch 64] [--repeats 5]
                             [--lattices] [--exact 4]

REGIONS is a folder with `img/` and `mask/` (masks with background as the last value). Unaries are the mask made as
coarse as an activation map, with noise, in three degrees of certainty; `--run` adds those of a trained model.
`--lattices` adds filters that were not chosen, `--exact N` the N×N kernel on N crops of 128 px. `pydensecrf2` must be
installed; single images take one core, it knows no batches.

All schemes take turns on the same images, and the least time of each is compared. *CPU* is processor time, which other
work on the machine hardly touches; *wall* is what a clock shows, and means something on an idle machine alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from crf_lattices import exact_crf, grid_vertices, lattice_crf, permutohedral_vertices
from histoproto.config import InferenceSettings
from histoproto.inference.background import label_probabilities
from histoproto.inference.crf import CrfSettings, dense_crf
from histoproto.inference.patches import patch_maps
from histoproto.inference.segmenter import Segmenter

CERTAINTY = {"low": 0.5, "medium": 1.5, "high": 5.0}
CELL = 16
"""Pixels for each value of the simulated activation maps."""

Scheme = Callable[[Tensor, Tensor], np.ndarray]
Case = tuple[Tensor, Tensor]


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    images, masks = load_crops(arguments.regions, arguments.size, max(arguments.agreement, arguments.batch))
    some = slice(0, arguments.agreement)
    unaries = {name: coarse_unaries(masks[some], gain) for name, gain in CERTAINTY.items()}
    cases = {name: list(zip(images[some], unary, strict=True)) for name, unary in unaries.items()}
    for protocol in ("raw maps", "minmax maps and background") if arguments.run else ():
        cases[f"model, {protocol}"] = list(
            zip(images[some], model_unaries(arguments.run, images[some], protocol), strict=True)
        )
    schemes: dict[str, Scheme] = {
        f"palette of {n}": lambda image, p, n=n: dense_crf(image[None], p[None], CrfSettings(colours=n))[0].argmax(0)
        for n in (8, 12, 16, 24)
    }
    if arguments.lattices:
        schemes["permutohedral lattice"] = lambda image, p: lattice_crf(image, p, permutohedral_vertices).argmax(0)
        schemes["bilateral grid"] = lambda image, p: lattice_crf(image, p, grid_vertices).argmax(0)
    show_agreement(schemes, cases)
    if arguments.exact:
        some = slice(0, arguments.exact)
        small = images[some, :, :128, :128]
        small_cases = {
            name: list(zip(small, coarse_unaries(masks[some, :128, :128], gain), strict=True))
            for name, gain in CERTAINTY.items()
        }
        exact: dict[str, Scheme] = {"exact": lambda image, p: exact_crf(image, p).argmax(0)}
        show_agreement(exact | {"palette of 16": schemes["palette of 16"]}, small_cases)
    show_times(schemes, images, coarse_unaries(masks, CERTAINTY["medium"]), arguments.batch, arguments.repeats)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("regions", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--agreement", type=int, default=24, help="number of crops to compare labels on")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lattices", action="store_true")
    parser.add_argument("--exact", type=int, default=0)
    return parser.parse_args()


def load_crops(regions: Path, size: int, count: int) -> tuple[Tensor, Tensor]:
    """Two opposite corners of each region that is large enough, then again from the start: N×3×S×S and N×S×S."""
    crops = []
    for file in sorted((regions / "img").glob("*.png")):
        image, mask = (np.array(Image.open(f)) for f in (file, regions / "mask" / file.name))
        if min(mask.shape) >= size:
            crops += [(image[:size, :size], mask[:size, :size]), (image[-size:, -size:], mask[-size:, -size:])]
    if not crops:
        raise SystemExit(f"no region of {regions} has {size} pixels a side")
    # Both corners of a region are alike: take the first corner of all regions before the second.
    crops = [*crops[::2], *crops[1::2]]
    images, masks = zip(*(crops[i % len(crops)] for i in range(count)), strict=True)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(np.stack(masks))


def coarse_unaries(masks: Tensor, gain: float) -> Tensor:
    """N×L×H×W probabilities from label maps N×H×W."""
    chance = torch.Generator().manual_seed(0)
    truth = F.one_hot(masks.long(), 4).permute(0, 3, 1, 2).float()
    cells = F.adaptive_avg_pool2d(truth, (masks.shape[1] // CELL, masks.shape[2] // CELL))
    cells = cells + 0.3 * torch.randn(cells.shape, generator=chance)
    return (gain * F.interpolate(cells, size=masks.shape[1:], mode="bilinear")).softmax(1)


@torch.inference_mode()
def model_unaries(run: Path, images: Tensor, protocol: str) -> Tensor:
    """What the CRF is given when a trained model segments the images."""
    segmenter = Segmenter.load(run, "cpu")
    raw = protocol == "raw maps"
    settings = InferenceSettings(
        fusion="raw" if raw else "minmax", background="none" if raw else "activation", views=1, crf=True
    )
    maps = patch_maps(segmenter.network, images.float() / 255, settings, segmenter.thresholds)
    return label_probabilities(maps.scores, maps.present, logits=raw, foreground=maps.foreground)


def pydensecrf(image: Tensor, probabilities: Tensor) -> np.ndarray:
    from pydensecrf.densecrf import DenseCRF2D

    labels, height, width = probabilities.shape
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(-probabilities.clamp(1e-5, 1).log().view(labels, -1).numpy())
    crf.addPairwiseGaussian(sxy=15, compat=30)
    crf.addPairwiseBilateral(sxy=10, srgb=20, rgbim=image.permute(1, 2, 0).contiguous().numpy(), compat=50)
    return np.array(crf.inference(5)).reshape(labels, height, width).argmax(0)


def show_agreement(schemes: dict[str, Scheme], cases: dict[str, list[Case]]) -> None:
    size = next(iter(cases.values()))[0][0].shape[1]
    print(f"Pixels with the label of pydensecrf2, % (mean, and worst image), {size} px:\n")
    print("| unaries | changed by the CRF | " + " | ".join(schemes) + " |")
    print("|---|---|" + "---|" * len(schemes), flush=True)
    for name, pairs in cases.items():
        wanted = [pydensecrf(*pair) for pair in pairs]
        kept = _same(wanted, [p.argmax(0).numpy() for _, p in pairs])
        row = [f"{100 - kept.mean():.1f}"]
        for scheme in schemes.values():
            same = _same(wanted, [np.asarray(scheme(*pair)) for pair in pairs])
            row.append(f"{same.mean():.2f} ({same.min():.1f})")
        print(f"| {name}, {len(pairs)} images | " + " | ".join(row) + " |", flush=True)
    print()


def _same(left: list[np.ndarray], right: list[np.ndarray]) -> np.ndarray:
    return np.array([100 * (a == b).mean() for a, b in zip(left, right, strict=True)])


def show_times(schemes: dict[str, Scheme], images: Tensor, unaries: Tensor, batch: int, repeats: int) -> None:
    one = (images[0], unaries[0])
    jobs: dict[str, tuple[int, int, Callable[[], object]]] = {"pydensecrf2": (1, 1, lambda: pydensecrf(*one))}
    for name, scheme in schemes.items():
        jobs[name] = (1, 1, lambda scheme=scheme: scheme(*one))
    for threads in (1, 2):
        jobs[f"default, batch of {batch}, {threads} core(s)"] = (
            threads,
            batch,
            lambda: dense_crf(images[:batch], unaries[:batch]),
        )
    cpu: dict[str, list[float]] = {name: [] for name in jobs}
    wall: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeats + 1):
        for name, (threads, count, job) in jobs.items():
            torch.set_num_threads(threads)
            start, start_cpu = time.perf_counter(), time.process_time()
            job()
            if turn:  # the first turn warms up
                cpu[name].append(1000 * (time.process_time() - start_cpu) / count)
                wall[name].append(1000 * (time.perf_counter() - start) / count)
    print(f"Least of {repeats}, per image of {images.shape[2]} px with {unaries.shape[1]} labels:\n")
    print("| scheme | CPU ms | wall ms | CPU: pydensecrf2 takes | wall: pydensecrf2 takes |\n|---|---|---|---|---|")
    for name in jobs:
        times = min(cpu[name]), min(wall[name])
        ratios = min(cpu["pydensecrf2"]) / times[0], min(wall["pydensecrf2"]) / times[1]
        print(f"| {name} | {times[0]:.1f} | {times[1]:.1f} | {ratios[0]:.2f}× | {ratios[1]:.2f}× |")


if __name__ == "__main__":
    main()
