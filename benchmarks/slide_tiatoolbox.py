"""`segment_slide` beside TIAToolbox's SemanticSegmentor with the same network, slide, windows and overlap.

    python benchmarks/slide_tiatoolbox.py [--run RUN] [--slide SLIDE] [--mpp 0.5]

Needs an environment with both: TIAToolbox (2.1) wants older versions of torch and others, so give it its own. Either
works in a process of its own, one after the other: wall time, processor time and peak memory from the open slide to the
results on disk. TIAToolbox finds tissue with its own mask and writes probabilities as Zarr, the least it can write;
ours writes everything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from histoproto.inference.fusion import fuse_scales
from histoproto.inference.patches import as_batch
from histoproto.inference.segmenter import Segmenter
from histoproto.record import peak_memory_mib
from histoproto.slides.options import SlideOptions
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.segment import segment_slide
from histoproto.slides.task import SlideTask
from slide_memory import untrained

BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--slide", type=Path)
    parser.add_argument("--mpp", type=float, default=0.5)
    parser.add_argument("--side", type=int, default=4096, help="of the phantom, if no slide is given")
    parser.add_argument("--worker", choices=["histoproto", "tiatoolbox"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        segmenter = Segmenter.load(arguments.run, "cpu") if arguments.run else untrained()
        work = ours if arguments.worker == "histoproto" else theirs
        print(json.dumps(measure(work, segmenter, arguments.slide, arguments.mpp)))
        return
    with tempfile.TemporaryDirectory() as folder:
        slide = arguments.slide or Path(folder) / "phantom.tif"
        if arguments.slide is None:
            size = {"width": arguments.side, "height": arguments.side, "mpp": arguments.mpp}
            write_phantom_slide(slide, **size, distinct=4, field=512)
        print("| | windows | wall s | processor s | peak MiB |\n|---|---|---|---|---|")
        for worker in ("histoproto", "tiatoolbox"):
            command = [sys.executable, __file__, "--worker", worker, "--slide", str(slide), "--mpp", str(arguments.mpp)]
            command += ["--run", str(arguments.run)] if arguments.run else []
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            print(
                f"| {worker} | {found['windows']} | {found['wall']:.1f} | {found['processor']:.1f} | "
                f"{found['peak']:.0f} |",
                flush=True,
            )


def measure(work, segmenter: Segmenter, slide: Path, mpp: float) -> dict[str, float]:
    side = segmenter.card.patch_size
    with torch.inference_mode():
        segmenter.network.class_maps(torch.zeros(BATCH, 3, side, side))
    with tempfile.TemporaryDirectory() as out:
        wall, processor = time.perf_counter(), time.process_time()
        windows = work(segmenter, slide, mpp, Path(out) / "out")
        taken = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    return {"windows": windows, **taken, "peak": peak_memory_mib()}


def ours(segmenter: Segmenter, slide: Path, mpp: float, out: Path) -> int:
    return segment_slide(segmenter, SlideTask(slide, mpp), out, SlideOptions(model_mpp=mpp, batch_size=BATCH)).windows


def theirs(segmenter: Segmenter, slide: Path, mpp: float, out: Path) -> int:
    from tiatoolbox.models.engine.io_config import IOSegmentorConfig
    from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor
    from tiatoolbox.models.models_abc import ModelABC

    weights = segmenter.card.inference.fusion_weights
    count = 0

    class Wrapped(ModelABC):
        def __init__(self) -> None:
            super().__init__()
            self.network = segmenter.network

        def forward(self, images: Tensor) -> Tensor:
            maps = self.network.class_maps(images).maps
            return fuse_scales(maps, (images.shape[2], images.shape[3]), weights, "raw").softmax(dim=1)

        @staticmethod
        def infer_batch(model: Wrapped, batch_data: Tensor, *, device: str) -> np.ndarray:
            nonlocal count
            count += len(batch_data)
            with torch.inference_mode():
                return model(as_batch(batch_data.numpy(), torch.device(device))).permute(0, 2, 3, 1).numpy()

    side = segmenter.card.patch_size
    level_0 = [{"units": "baseline", "resolution": 1.0}]
    shapes = {
        "patch_input_shape": (side, side),
        "patch_output_shape": (side, side),
        "stride_shape": (side // 2, side // 2),
    }
    config = IOSegmentorConfig(
        input_resolutions=level_0, output_resolutions=level_0, save_resolution=level_0[0], **shapes
    )
    engine = SemanticSegmentor(Wrapped(), batch_size=BATCH, num_workers=0, device="cpu", verbose=False)
    engine.run([slide], patch_mode=False, ioconfig=config, save_dir=out, output_type="zarr", auto_get_mask=True)
    return count


if __name__ == "__main__":
    main()
