"""How near segmenting slides comes to the speed of the network alone: one large slide, and twenty small ones.

    python benchmarks/slide_throughput.py [--run RUN] [--slide SLIDE --mpp MPP] [--small 20]

The network alone (encoder and heads, windows ready in memory, in the same batches) and the whole of `segment`
(opening, tissue, reading, blending, writing all results) take turns in one run; medians of wall time and of processor
time are compared. Without --slide, phantoms are drawn; without --run, the default encoder has random heads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from histoproto.inference.patches import as_batch
from histoproto.inference.segmenter import Segmenter
from histoproto.inference.windows import CELL
from histoproto.slides.many.job import Job
from histoproto.slides.many.processes import in_turn
from histoproto.slides.options import SlideOptions
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.reading.opening import open_slide
from histoproto.slides.segment import RECORD_FILE
from histoproto.slides.task import SlideTask
from slide_memory import untrained

KEPT = 256
"""Windows that the network alone goes through, again and again."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--slide", type=Path)
    parser.add_argument("--mpp", type=float, default=0.5)
    parser.add_argument("--side", type=int, default=4096, help="of the large phantom; 0: none")
    parser.add_argument("--small", type=int, default=20, help="number of small phantoms")
    parser.add_argument("--small-side", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.run) if arguments.run else untrained()
    options = SlideOptions(model_mpp=arguments.mpp)
    batch = 8 if segmenter.device.type == "cpu" else 64
    print(f"{segmenter.device.type}, {torch.get_num_threads()} threads, windows of {segmenter.card.patch_size} px\n")
    print("| slides | windows | network alone | segment | of its wall rate | of its processor rate |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = [arguments.slide or folder / "large.tif"] if arguments.slide or arguments.side else []
        if large and not arguments.slide:
            write_phantom_slide(large[0], width=arguments.side, height=arguments.side, mpp=arguments.mpp, distinct=4)
        small = [folder / f"{number}.tif" for number in range(arguments.small)]
        square = {"width": arguments.small_side, "height": arguments.small_side}
        for number, path in enumerate(small):
            write_phantom_slide(path, **square, mpp=arguments.mpp, field=512, distinct=1, glass=0, seed=number)
        for title, slides in (("one large", large), (f"{len(small)} small", small)):
            if slides:
                print(compare(title, slides, segmenter, options, batch, arguments.turns), flush=True)


def compare(title: str, slides: list[Path], segmenter: Segmenter, options: SlideOptions, batch: int, turns: int) -> str:
    side = -(-segmenter.card.patch_size // CELL) * CELL
    with open_slide(slides[0]) as reader:
        rng = np.random.default_rng(0)
        places = zip(
            *(rng.integers(0, max(1, length - side), KEPT) for length in (reader.width, reader.height)), strict=True
        )
        kept = np.stack([reader.read(int(left), int(top), side, side) for left, top in places])
    windows = 0

    def alone() -> None:
        with torch.inference_mode():
            for start in range(0, windows, batch):
                part = np.take(kept, range(start, min(start + batch, windows)), axis=0, mode="wrap")
                segmenter.network.class_maps(as_batch(part, segmenter.device)).logits.cpu()

    def whole() -> None:
        nonlocal windows
        windows = 0
        with tempfile.TemporaryDirectory() as out:
            jobs = deque(Job(slide.stem, SlideTask(slide, options.model_mpp)) for slide in slides)
            for outcome in in_turn(segmenter, jobs, Path(out), options, lambda *_: None):
                assert outcome.state == "done", outcome.sentence
                windows += json.loads((Path(out) / outcome.job.name / RECORD_FILE).read_text())["windows"]

    whole()  # warms up, and counts the windows
    times: dict[Callable[[], None], list[tuple[float, float]]] = {alone: [], whole: []}
    for _ in range(turns):
        for work, taken in times.items():
            wall, processor = time.perf_counter(), time.process_time()
            work()
            taken.append((time.perf_counter() - wall, time.process_time() - processor))
    (bare, bare_cpu), (full, full_cpu) = (
        (statistics.median(column) for column in zip(*taken, strict=True)) for taken in times.values()
    )
    return (
        f"| {title} | {windows} | {windows / bare:.1f} /s | {windows / full:.1f} /s | {100 * bare / full:.0f} % "
        f"| {100 * bare_cpu / full_cpu:.0f} % |"
    )


if __name__ == "__main__":
    main()
