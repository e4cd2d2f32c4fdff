"""A phantom slide scores through `segment` what its patches score through `evaluate`.

    python benchmarks/slide_score.py RUN [--side 20000] [--glass 0.8]

RUN is a model of the phantom (`histoproto demo` leaves one). Both scores are on the same pixels: all true tissue of the
slide, predicted labels, background ignored, one view, no CRF (the protocol `honest`). Without overlap, windows of the
slide are the patches; with overlap, each pixel is seen by four windows and the nearest to its middle counts most.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tifffile

from histoproto.data.images import write_image, write_mask
from histoproto.data.names import patch_name
from histoproto.data.phantom import TISSUES
from histoproto.evaluation.confusion import confusion_matrix, scores
from histoproto.evaluation.protocols import evaluate
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.options import SlideOptions
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.reading.opening import open_slide
from histoproto.slides.reading.protocol import SlideReader
from histoproto.slides.segment import segment_slide
from histoproto.slides.task import SlideTask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--side", type=int, default=20000)
    parser.add_argument("--glass", type=float, default=0.8)
    parser.add_argument("--mpp", type=float, default=1.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slide, mask = folder / "phantom.tif", folder / "mask.tif"
        size = {"width": arguments.side, "height": arguments.side}
        write_phantom_slide(slide, mask, **size, mpp=arguments.mpp, glass=arguments.glass, seed=7)
        truth = tifffile.imread(mask)
        segmenter = Segmenter.load(arguments.run)
        ways = {}
        for overlap in (0.0, 0.5):
            options = SlideOptions(model_mpp=arguments.mpp, background="none", crf=False, views=1, overlap=overlap)
            out = folder / f"slide-{overlap}"
            windows = segment_slide(segmenter, SlideTask(slide), out, options).windows
            ways[f"`segment --overlap {overlap:g}`, {windows} windows"] = score(out / "tissue.ome.tif", truth)
        with open_slide(slide) as reader:
            count = write_patches(reader, truth, folder / "data", segmenter.card.patch_size)
        shutil.copytree(arguments.run, folder / "run", ignore=shutil.ignore_patterns("checkpoints", "metrics.json"))
        found = evaluate(folder / "run", folder / "data")["honest"]["scores"]
        ways[f"`evaluate`, {count} patches"] = found["miou"]
    print(f"{arguments.side} × {arguments.side} px\n\n| way | mIoU % |\n|---|---|")
    for way, miou in ways.items():
        print(f"| {way} | {100 * miou:.2f} |")


def score(path: Path, truth: np.ndarray) -> float:
    """mIoU of a label map on true tissue."""
    labels = tifffile.imread(path)
    matrix = np.zeros((len(TISSUES) + 1,) * 2, dtype=np.int64)
    for top in range(0, len(truth), 1000):
        matrix += confusion_matrix(labels[top : top + 1000], truth[top : top + 1000], len(TISSUES))
    return scores(matrix, "ignored").miou


def write_patches(reader: SlideReader, truth: np.ndarray, out: Path, size: int) -> int:
    """Patches side by side wherever there is tissue, as a data folder; their number."""
    out.mkdir()
    TISSUES.write(out / "classes.yaml")
    count = 0
    for top in range(0, reader.height, size):
        for left in range(0, reader.width, size):
            labels = truth[top : top + size, left : left + size]
            if (labels < len(TISSUES)).any():
                image = reader.read(left, top, labels.shape[1], labels.shape[0])
                write_image(out / "test" / "img" / patch_name("phantom", count), image)
                write_mask(out / "test" / "mask" / patch_name("phantom", count), labels, TISSUES)
                count += 1
    return count


if __name__ == "__main__":
    main()
