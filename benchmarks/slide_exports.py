"""What writing the results of a slide costs: seconds and peak memory of each export, by the size of the label map.

    python benchmarks/slide_exports.py --gigapixels 0.1 1 4

The label map is a phantom's (tissue everywhere, regions of about 100 µm at 0.5 µm/px), repeated to the size. Each size
is written by a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from histoproto.data.phantom import TISSUES, phantom_region
from histoproto.data.phantom_slide import draw_slide
from histoproto.slides.export import slide_areas, write_areas, write_geojson, write_ome_tiff, write_overview
from histoproto.slides.labelling.raster import LabelRaster

MPP, SIDE = 0.5, 2048


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def fill(path: Path, side: int) -> None:
    """The phantom's label map, mirrored from copy to copy so that regions go on across the seams."""
    raster = LabelRaster.create(path, side, side)
    rng = np.random.default_rng(0)
    labels = phantom_region(rng, SIDE, SIDE, draw_slide(rng), mpp=MPP)[1]
    for row, top in enumerate(range(0, raster.height, SIDE)):
        for column, left in enumerate(range(0, raster.width, SIDE)):
            tile = labels[:: -1 if row % 2 else 1, :: -1 if column % 2 else 1]
            raster.write(top, left, tile[: raster.height - top, : raster.width - left])


def export(out: Path, side: int) -> None:
    raster = LabelRaster.open(out / "labels", side, side)
    print(f"{side} × {side}; before: {peak_mib():.0f} MiB", flush=True)
    thumbnail = np.full((1000, 1000, 3), 200, np.uint8)
    steps: dict[str, Callable[[], object]] = {
        "areas.csv": lambda: write_areas(out / "areas.csv", slide_areas(raster, TISSUES, MPP)),
        "tissue.ome.tif": lambda: write_ome_tiff(out / "tissue.ome.tif", raster, TISSUES, MPP),
        "overview.png": lambda: write_overview(out / "overview.png", thumbnail, raster, TISSUES, MPP, "phantom"),
        "tissue.geojson": lambda: write_geojson(out / "tissue.geojson", raster, TISSUES, 1.0, MPP),
    }
    for name, write in steps.items():
        start, processor = time.perf_counter(), time.process_time()
        write()
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        size = (out / name).stat().st_size / 1e6
        print(
            f"  {name:15s} {seconds:7.1f} s, {processor:7.1f} s of processor time, "
            f"{side * side / 1e6 / processor:6.0f} million pixels/s, {size:8.2f} MB, peak {peak_mib():.0f} MiB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigapixels", type=float, nargs="+", default=[0.1, 1.0])
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    for gigapixels in arguments.gigapixels:
        side = round((gigapixels * 1e9) ** 0.5)
        with tempfile.TemporaryDirectory() as folder:
            for target, path in ((fill, Path(folder) / "labels"), (export, Path(folder))):
                process = spawn.Process(target=target, args=(path, side))
                process.start()
                process.join()
                if process.exitcode:
                    raise SystemExit(process.exitcode)


if __name__ == "__main__":
    main()
