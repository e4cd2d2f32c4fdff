"""What `gpu_check.sh` runs: each step gives rows of a table, and says whether what it found is right."""

from __future__ import annotations

import csv
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
import torch

from histoproto.config import load_settings
from histoproto.data.phantom import write_phantom
from histoproto.errors import SettingError
from histoproto.evaluation.protocols import evaluate
from histoproto.inference.crf import dense_crf
from histoproto.inference.export import export_model
from histoproto.inference.segmenter import Segmenter
from histoproto.methods.registry import OWN, PRESETS
from histoproto.model.encoders import build_encoder
from histoproto.model.saving import load_model
from histoproto.slides.many.batch import segment_slides
from histoproto.slides.many.tasks import find_slides
from histoproto.slides.options import SlideOptions
from histoproto.slides.phantom import write_phantom_slide
from histoproto.training.run import train

CARD = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CARD else "cpu")
PATCH, PATCHES, SLIDE, IMAGES = (128, 60, 4096, 64) if CARD else (64, 12, 384, 2)
TRANSFORMERS = ("vit_large_patch16_224", "vit_huge_patch14_224") if CARD else ("vit_tiny_patch16_224",)
ENCODERS = ("tf_efficientnet_lite0", *TRANSFORMERS)
PRECISIONS = ("32", "bf16", "16") if CARD else ("32", "bf16")
METHODS = tuple(OWN) if CARD else ("lpd", "cam")
NEEDS = {"lpd-published": ["loss.similarity=0", "model.dimension=320"]}
SAME_LOSS = {"32": 0.02, "bf16": 0.1, "16": 0.1}
"""Largest relative difference of the first loss from that of the CPU in 32 bit, of the same weights and patches."""
SAME_SCORE = 0.15 if CARD else 1.0
"""Largest difference of the honest mIoU; a dozen patches on the CPU tell nothing."""
SAME_PIXELS = 0.98
"""Least part of the pixels that must get the same tissue by two ways of computing."""
OFF = 0.02
"""Mean difference between the chances of tissues in half precision and in 32 bit, at most."""


class Row(NamedTuple):
    """A line of the table; `right` is None where there is nothing to be wrong."""

    what: str
    figure: str
    right: bool | None = None


class Trained(NamedTuple):
    """First loss, honest mIoU on the test patches, seconds of training."""

    loss: float
    score: float
    seconds: float


class Place(NamedTuple):
    """Where the steps work: the data, the runs, a trained one, a slide."""

    data: Path
    runs: Path
    run: Path
    slide: Path


def training(place: Place) -> Iterator[Row]:
    """Every method in every precision, beside the CPU in 32 bit."""
    for method in METHODS:
        expected = _trained(place, method, "32", "cpu")
        for precision in PRECISIONS:
            found = expected
            if CARD or precision != "32":
                found = _trained(place, method, precision, "gpu" if CARD else "cpu")
            close = abs(found.loss / expected.loss - 1) <= SAME_LOSS[precision]
            close &= abs(found.score - expected.score) <= SAME_SCORE
            yield Row(
                f"`{method}`, {precision}",
                f"first loss {found.loss:.4f} (CPU {expected.loss:.4f}), mIoU {100 * found.score:.1f} "
                f"({100 * expected.score:.1f}), {found.seconds:.0f} s",
                close,
            )


def features(_: Place) -> Iterator[Row]:
    """Frozen features per second, random weights, half precision on a card."""
    kind = torch.float16 if CARD else torch.float32
    for name in ENCODERS:
        images = torch.rand(IMAGES, 3, 224, 224, device=DEVICE, dtype=kind)
        encoder = build_encoder(name, None).eval().to(DEVICE, kind)
        with torch.inference_mode():
            rate = IMAGES / _seconds(lambda encoder=encoder, images=images: encoder(images))
        yield Row(f"features, {name}, 224 px, batch {IMAGES}", f"{rate:.0f} images/s", rate > 0)
        del encoder


def half_precision(place: Place) -> Iterator[Row]:
    """`--fast` beside 32 bit."""
    images = sorted((place.data / "test" / "img").iterdir())
    try:
        plain, fast = (Segmenter.load(place.run, str(DEVICE), fast) for fast in (False, True))
    except SettingError as error:
        yield Row("`--fast`", str(error))
        return
    pairs = list(zip(plain.stream(images), fast.stream(images), strict=True))
    same = np.mean([(a.labels == b.labels).mean() for a, b in pairs])
    off = np.mean([np.abs(a.probabilities - b.probabilities).mean() for a, b in pairs])
    quicker = _seconds(lambda: list(plain.stream(images))) / _seconds(lambda: list(fast.stream(images)))
    # The few steps of the small run leave a model undecided, whose pixels tip over at the least difference.
    right = off <= OFF and (same >= SAME_PIXELS or not CARD)
    found = f"{quicker:.2f} × as quick, {100 * same:.2f} % of pixels equal, chances off by {off:.4f}"
    yield Row("`--fast` beside 32 bit", found, right)


def compiled(place: Place) -> Iterator[Row]:
    """`torch.compile` beside the plain network."""
    network = load_model(place.run)[0].to(DEVICE)
    images = torch.rand(IMAGES, 3, PATCH, PATCH, device=DEVICE)
    backend = "inductor" if CARD else "aot_eager"
    quick = torch.compile(network.class_maps, backend=backend)
    with torch.inference_mode():
        one, other = network.class_maps(images), quick(images)
        difference = max(
            float((a - b).abs().max() / a.abs().max().clamp(min=1)) for a, b in zip(one.maps, other.maps, strict=True)
        )
        gain = _seconds(lambda: network.class_maps(images)) / _seconds(lambda: quick(images))
    yield Row(f"`torch.compile`, {backend}", f"{gain:.2f} × as quick, differs by {difference:.1e}", difference < 1e-2)


def segment(place: Place) -> Iterator[Row]:
    """A slide, beside the bare network on as many windows."""
    segmenter = Segmenter.load(place.run, str(DEVICE))
    size = segmenter.card.patch_size
    seconds = _slides(place, "one", [place.slide], workers=1)
    windows = (2 * SLIDE // size - 1) ** 2  # they overlap by half
    images = torch.rand(IMAGES, 3, size, size, device=DEVICE)
    with torch.inference_mode():
        bare = IMAGES / _seconds(lambda: segmenter.network.class_maps(images))
    part = 100 * windows / seconds / bare
    yield Row(
        f"`segment` of {SLIDE} × {SLIDE} px, start included",
        f"{seconds:.1f} s, up to {windows / seconds:.0f} windows/s; the bare network {bare:.0f}/s ({part:.0f} %)",
        _is_map(place.runs / "one"),
    )


def two_processes(place: Place) -> Iterator[Row]:
    """Two processes share the device, and give what one gives."""
    other = place.slide.with_name("other.tif")
    write_phantom_slide(other, width=SLIDE, height=SLIDE, mpp=1.0, seed=1)
    seconds = _slides(place, "two", [place.slide, other], workers=2)
    one, two = (tifffile.imread(place.runs / out / place.slide.stem / "tissue.ome.tif") for out in ("one", "two"))
    same = float((one == two).mean())
    yield Row(
        "two processes on one device, a slide each", f"{seconds:.1f} s, {100 * same:.2f} % equal", same >= SAME_PIXELS
    )


def crf(_: Place) -> Iterator[Row]:
    """The dense CRF on the device beside the CPU."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, PATCH, PATCH), dtype=torch.uint8, generator=generator)
    chances = torch.rand(4, 5, PATCH, PATCH, generator=generator).softmax(dim=1)
    here = dense_crf(images.to(DEVICE), chances.to(DEVICE))
    same = float((here.cpu().argmax(1) == dense_crf(images, chances).argmax(1)).float().mean())
    rate = 4 / _seconds(lambda: dense_crf(images.to(DEVICE), chances.to(DEVICE)))
    yield Row(f"CRF, {PATCH} px", f"{rate:.1f} images/s, {100 * same:.2f} % as on the CPU", same >= SAME_PIXELS)


def export(place: Place) -> Iterator[Row]:
    """ONNX Runtime beside torch."""
    try:
        import onnxruntime
    except ImportError:
        yield Row("ONNX", "not installed: pip install 'histoproto[onnx]'")
        return
    out = place.runs / "onnx"
    export_model(place.run, out, "onnx")
    on_card = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    device = "cuda" if CARD and on_card else "cpu"
    images = sorted((place.data / "test" / "img").iterdir())
    plain, other = Segmenter.load(place.run, str(DEVICE)), Segmenter.load(out, device)
    same = np.mean(
        [(a.labels == b.labels).mean() for a, b in zip(plain.stream(images), other.stream(images), strict=True)]
    )
    rate = len(images) / _seconds(lambda: list(other.stream(images)))
    build = "GPU" if on_card else "CPU"
    yield Row(
        f"ONNX Runtime ({build} build), {device}", f"{rate:.0f} images/s, {100 * same:.2f} % equal", same >= SAME_PIXELS
    )


STEPS: tuple[Callable[[Place], Iterator[Row]], ...] = (
    training,
    features,
    half_precision,
    compiled,
    segment,
    two_processes,
    crf,
    export,
)


def _trained(place: Place, method: str, precision: str, accelerator: str) -> Trained:
    """Train a method, and score it."""
    out = place.runs / f"{method}-{precision}-{accelerator}"
    overrides = [f"method={method}", "training.epochs=2", "training.batch_size=4", "model.prototypes=3"]
    overrides += [f'training.precision="{precision}"', f"training.accelerator={accelerator}", "data.workers=0"]
    overrides += NEEDS.get(method, [])
    started = time.monotonic()
    train(place.data, out, load_settings(overrides=overrides, presets=PRESETS))
    seconds = time.monotonic() - started
    with (out / "history.csv").open(encoding="utf-8", newline="") as lines:
        loss = next(float(row["total"]) for row in csv.DictReader(lines) if row["total"])
    score = evaluate(out, place.data, device=str(DEVICE))["honest"]["scores"]["miou"]
    return Trained(loss, float(score), seconds)


def _slides(place: Place, out: str, slides: list[Path], workers: int) -> float:
    started = time.monotonic()
    report = segment_slides(
        place.run, find_slides(slides), place.runs / out, SlideOptions(), workers=workers, device=str(DEVICE)
    )
    for outcome in report.failed:
        raise RuntimeError(outcome.sentence)
    return time.monotonic() - started


def _is_map(out: Path) -> bool:
    (path,) = out.glob("*/tissue.ome.tif")
    labels = tifffile.imread(path)
    return bool(labels.ndim == 2 and labels.size > 0 and labels.max() > 0)


def _seconds(work: Callable[[], object], times: int = 3) -> float:
    """The best of a few, after one to warm up."""
    best = float("inf")
    for _ in range(times + 1):
        started = time.monotonic()
        work()
        if CARD:
            torch.cuda.synchronize()
        best = min(best, time.monotonic() - started)
    return max(best, 1e-9)


def _peak() -> str:
    if CARD:
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB on the card"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB"


def main() -> int:
    """Print the table; 1 if anything in it is wrong."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    name = torch.cuda.get_device_name() if CARD else f"no card; small, on the CPU, {torch.get_num_threads()} threads"
    wrong, started = 0, time.monotonic()
    print(f"{name}; torch {torch.__version__}\n\n| what | found | right | step's peak |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = root / "data"
        write_phantom(data, train=PATCHES, val=0, test=PATCHES // 3, size=PATCH)
        slide = root / "slide.tif"
        write_phantom_slide(slide, width=SLIDE, height=SLIDE, mpp=1.0)
        place = Place(data, root / "runs", root / "runs" / "lpd-32-cpu", slide)
        for step in STEPS:
            if CARD:
                torch.cuda.reset_peak_memory_stats()
            try:
                rows = list(step(place))
            except Exception as error:  # the other steps are still worth knowing
                traceback.print_exc()
                rows = [Row(step.__name__, f"{type(error).__name__}: {error}".splitlines()[0], False)]
            for row in rows:
                mark = {True: "yes", False: "**NO**", None: "–"}[row.right]
                wrong += row.right is not None and not row.right
                print(f"| {row.what} | {row.figure} | {mark} | {_peak()} |", flush=True)
    print(f"\n{time.monotonic() - started:.0f} s in all, {wrong} wrong", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
