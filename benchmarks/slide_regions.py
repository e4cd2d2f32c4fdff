"""What many outlines cost: `segment --regions` with one box around a slide, and with as many small outlines besides.

    python benchmarks/slide_regions.py RUN [--outlines 100000] [--repeats 3] [--profile]

Draws a phantom slide of 1536 × 1152 px and outlines of sixteen corners, as of cells that were turned into annotations.
Both are done in turns in one process, of which the seconds of processor time and of the clock are printed.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from histoproto.slides.many.batch import segment_slides
from histoproto.slides.options import SlideOptions
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.task import SlideTask

WIDTH, HEIGHT, RADIUS, CORNERS = 1536, 1152, 3.0, 16


def write_outlines(path: Path, count: int) -> None:
    """A box around the slide and `count` small outlines."""
    draw, angles = np.random.default_rng(0), np.linspace(0, 2 * np.pi, CORNERS + 1)
    shape = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rings = [np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT], [0, 0]], dtype=float)]
    rings += list(draw.uniform([0, 0], [WIDTH, HEIGHT], (count, 2))[:, None] + shape)
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring.round(2).tolist()]},
            "properties": {"objectType": "annotation", "classification": {"name": "AB"[number % 2]}},
        }
        for number, ring in enumerate(rings)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--outlines", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        slide = folder / "slide.tif"
        write_phantom_slide(slide, None, width=WIDTH, height=HEIGHT, mpp=1.0, seed=0)
        counts = (0, arguments.outlines)
        for count in counts:
            write_outlines(folder / f"{count}.geojson", count)
        options = SlideOptions(overlap=0.0, model_mpp=1.0)

        def once(count: int) -> tuple[float, float]:
            started, cpu = time.monotonic(), time.process_time()
            task = SlideTask(slide, None, folder / f"{count}.geojson")
            report = segment_slides(arguments.run, [task], folder / "out", options)
            taken = time.process_time() - cpu, time.monotonic() - started
            assert not report.failed, report.failed
            shutil.rmtree(folder / "out")
            return taken

        once(0)  # makes ready
        if arguments.profile:
            profile = cProfile.Profile()
            profile.runcall(once, arguments.outlines)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
            return
        rows = [[once(count) for count in counts] for _ in range(arguments.repeats)]
        taken = np.array(rows)  # repeats × counts × (processor, clock)
        for number, count in enumerate(counts):
            processor, clock = np.median(taken[:, number], axis=0)
            print(f"{count:>9,} outlines: {processor:6.2f} s of processor time, {clock:6.2f} s on the clock")
        processor, clock = np.median(taken[:, 1] - taken[:, 0], axis=0)
        print(f"difference:          {processor:6.2f} s of processor time, {clock:6.2f} s on the clock")


if __name__ == "__main__":
    main()
