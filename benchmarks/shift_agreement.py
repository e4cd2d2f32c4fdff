"""How much a map depends on where the windows happen to fall, and what it scores.

    python benchmarks/shift_agreement.py RUN [RUN ...] --regions REGIONS [--shifts 32 16] [--overlaps 0.5 0.75]
    python benchmarks/shift_agreement.py --maps MAPS/A/tissue.ome.tif MAPS/B/tissue.ome.tif

Regions (a folder with `img/`, `mask/` and `classes.yaml`) are predicted twice, the second time without their first rows
and columns; counted are the pixels that have the same tissue both times, 64 px of margin left out, and the mIoU of the
first prediction over whole regions. Protocol `honest`: predicted labels, background none and ignored, one view, no CRF.

Label maps of slides: of the border pixels between two tissues, the share that lies on the most frequent of 64 grid
lines, the larger of both directions (chance: 1/64 = 0.016); windows that begin every 64 or 32 px would show as peaks.
And specks: regions of tissue, and holes of background, below 100 µm² per mm² of tissue.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from histoproto.data.images import read_image
from histoproto.data.masks import read_mask
from histoproto.data.regions import find_regions, find_tissues
from histoproto.evaluation.confusion import confusion_matrix, scores
from histoproto.inference import large
from histoproto.inference.segmenter import Segmentation, Segmenter
from histoproto.inference.settings import change_settings

MARGIN, LINES = 64, 64
SPECK_UM2 = 100.0

Labels = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--regions", type=Path)
    parser.add_argument("--shifts", type=int, nargs="+", default=[32])
    parser.add_argument("--overlaps", type=float, nargs="+", default=[large.OVERLAP], help="of neighbouring windows")
    parser.add_argument("--maps", type=Path, nargs="+", default=[])
    parser.add_argument("--tissues", type=int, default=3, help="of the maps, their number")
    parser.add_argument("--mpp", type=float, default=0.5, help="of the maps")
    arguments = parser.parse_args()
    if arguments.runs:
        columns = "".join(f" agreement at {shift} px % |" for shift in arguments.shifts)
        print(f"| run | overlap |{columns} mIoU % |\n|---|---|" + "---|" * (len(arguments.shifts) + 1))
    for run in arguments.runs:
        for overlap in arguments.overlaps:
            large.OVERLAP = overlap  # a user of `segment` has an option; whole images are always done with the default
            found = agreement(Segmenter.load(run), arguments.regions, arguments.shifts)
            print(f"| {run} | {overlap} |" + "".join(f" {100 * value:.2f} |" for value in found), flush=True)
    if arguments.maps:
        print("| map | on the most frequent of 64 lines | specks per mm² |\n|---|---|---|")
    for path in arguments.maps:
        labels = tifffile.imread(path, key=0)
        background = arguments.tissues
        lines, small = grid_lines(labels, background), specks(labels, background, arguments.mpp)
        print(f"| {path.parent.name} | {lines:.4f} | {small:.1f} |", flush=True)


def agreement(segmenter: Segmenter, regions: Path, shifts: list[int]) -> list[float]:
    """Share of pixels with the same tissue, by shift, and the mIoU last."""
    settings = change_settings(segmenter.card.inference, background="none", crf=False, views=1)
    tissues = find_tissues(regions)
    count = len(tissues)
    assert tissues.names == segmenter.tissues.names
    matrix = np.zeros((count + 1, count + 1), np.int64)
    same, seen = np.zeros(len(shifts)), np.zeros(len(shifts))
    for image_path, mask_path in find_regions(regions).values():
        image = read_image(image_path)
        whole = predicted(segmenter.segment(image, settings=settings))
        matrix += confusion_matrix(whole, read_mask(mask_path, tissues), count)
        for index, shift in enumerate(shifts):
            if min(image.shape[:2]) <= shift + 2 * MARGIN:
                continue
            cut = np.ascontiguousarray(image[shift:, shift:])
            again = predicted(segmenter.segment(cut, settings=settings))
            middle = (slice(MARGIN, -MARGIN),) * 2
            equal = whole[shift:, shift:][middle] == again[middle]
            same[index] += equal.sum()
            seen[index] += equal.size
    return [*(same / seen).tolist(), scores(matrix).miou]


def predicted(found: Segmentation | list[Segmentation]) -> Labels:
    assert isinstance(found, Segmentation)
    return found.labels


def grid_lines(labels: Labels, background: int) -> float:
    """Share of the borders between tissues that lie on the most frequent of 64 lines, of columns or of rows."""
    shares = []
    for one, other in ((labels[:, :-1], labels[:, 1:]), (labels[:-1].T, labels[1:].T)):
        border = (one != other) & (one != background) & (other != background)
        counts = np.bincount(np.flatnonzero(border) % border.shape[1] % LINES, minlength=LINES)
        shares.append(counts.max() / max(1, counts.sum()))
    return float(max(shares))


def specks(labels: Labels, background: int, mpp: float) -> float:
    """Connected regions (along edges) below 100 µm², of any label, per mm² of tissue."""
    count = 0
    for label in np.unique(labels):
        parts, number = ndimage.label(labels == label)
        sizes = np.bincount(parts.ravel(), minlength=number + 1)[1:]
        count += int((sizes * mpp**2 < SPECK_UM2).sum())
    return count / ((labels != background).sum() * (mpp / 1000) ** 2)


if __name__ == "__main__":
    main()
