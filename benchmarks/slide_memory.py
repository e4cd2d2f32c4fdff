"""Peak memory of segmenting slides of 0.1, 1 and 4 gigapixels: it must not grow with the slide.

    python benchmarks/slide_memory.py [--gigapixels 0.1 1 4] [--run RUN]

Slides are pyramidal TIFFs, mostly glass, with islands of tissue from the first corner to the last; each is segmented in
a process of its own, all results included. Without --run, the default encoder with random heads does the work.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from histoproto.config import InferenceSettings, ModelSettings
from histoproto.data.phantom import TISSUES, phantom_region
from histoproto.data.phantom_slide import draw_slide
from histoproto.inference.segmenter import Segmenter
from histoproto.model.network import PrototypeNetwork
from histoproto.model.saving import ModelCard
from histoproto.record import peak_memory_mib
from histoproto.slides.options import SlideOptions
from histoproto.slides.segment import segment_slide
from histoproto.slides.task import SlideTask

TILE, STEP, ISLAND = 256, 4, 4
"""Pixels of a tile; from one level to the next; tiles along the side of an island."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigapixels", type=float, nargs="+", default=[0.1, 1.0, 4.0])
    parser.add_argument("--islands", type=int, default=8)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--slide", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.slide:
        print(json.dumps(measure(arguments.slide, arguments.run)))
        return
    print("| gigapixels | pixels | windows | minutes | peak MiB |\n|---|---|---|---|---|")
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for gigapixels in arguments.gigapixels:
            side = round((gigapixels * 1e9) ** 0.5)
            slide = Path(folder) / f"{gigapixels:g}.tif"
            write_islands(slide, side, arguments.islands)
            command = [sys.executable, __file__, "--slide", str(slide)]
            command += ["--run", str(arguments.run)] if arguments.run else []
            found = json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            )
            peaks.append(found["peak"])
            print(
                f"| {gigapixels:g} | {side} × {side} | {found['windows']} | {found['seconds'] / 60:.1f} | "
                f"{found['peak']:.0f} |",
                flush=True,
            )
    print(f"\nlargest over smallest peak: {max(peaks) / min(peaks):.3f}")


def measure(slide: Path, run: Path | None) -> dict[str, float]:
    segmenter = Segmenter.load(run, "cpu") if run else untrained()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        options = SlideOptions(model_mpp=0.5)
        windows = segment_slide(segmenter, SlideTask(slide, mpp=0.5), Path(out) / "slide", options).windows
    return {"windows": windows, "seconds": time.perf_counter() - started, "peak": peak_memory_mib()}


def untrained(patch_size: int = 224) -> Segmenter:
    settings = ModelSettings()
    card = ModelCard(
        method="lpd",
        model=settings,
        inference=InferenceSettings(),
        classes=TISSUES.to_dict(),
        patch_size=patch_size,
        mpp=0.5,
        thresholds=(0.5,) * len(TISSUES),
        calibrated_on="nothing",
        checkpoint="none",
        normalisation={"mean": [0.5] * 3, "std": [0.5] * 3},
        encoder_licence="Apache-2.0",
        training_data={},
    )
    return Segmenter(PrototypeNetwork(settings, len(TISSUES)), card, "cpu")


def write_islands(path: Path, side: int, islands: int) -> None:
    """A square slide of glass with islands along its diagonal and in its far corners."""
    rng = np.random.default_rng(0)
    stain = draw_slide(rng)
    tissue = phantom_region(rng, TILE, TILE, stain, mpp=1.0)[0]
    glass = np.full_like(tissue, stain.light)
    last = side // TILE - ISLAND
    places = {(place, place) for place in np.linspace(0, last, islands - 2).astype(int) // STEP * STEP}
    places |= {(0, last // STEP * STEP), (last // STEP * STEP, 0)}
    tiles = np.zeros((-(-side // TILE),) * 2, dtype=bool)
    for row, column in places:
        tiles[row : row + ISLAND, column : column + ISLAND] = True
    options = {"photometric": "rgb", "metadata": None, "compression": "jpeg", "tile": (TILE, TILE), "dtype": np.uint8}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level, factor in enumerate((1, STEP)):
            pictures = [
                imagecodecs.jpeg_encode(image, level=85, outcolorspace="ycbcr", subsampling="422")
                for image in (glass, tissue)
            ]
            length = -(-side // factor)
            grid = tiles[::factor, ::factor][: -(-length // TILE), : -(-length // TILE)]
            shape = (length, length, 3)
            file.write(_chosen(pictures, grid), shape=shape, subfiletype=bool(level), **options)
        coarse = np.where(
            np.kron(tiles, np.ones((TILE // STEP**2,) * 2, bool))[..., None], tissue.mean(axis=(0, 1)), stain.light
        )
        file.write(coarse[: side // STEP**2, : side // STEP**2].astype(np.uint8), subfiletype=1, **options)


def _chosen(pictures: list[bytes], grid: np.ndarray) -> Iterator[bytes]:
    yield from (pictures[int(tissue)] for tissue in grid.ravel())


if __name__ == "__main__":
    main()
