"""Do models tell images of another organ or laboratory from held-out ones of their own?

    python benchmarks/strangeness.py RUN [RUN ...] --own OWN/img [--other OTHER/img ...] [--slides SLIDE ...]

Runs must know their training patches (training leaves it so, or `histoproto calibrate`). Of each image the score is the
share of its tissue that is strange, in windows side by side; of slides that of each piece of 512 px that is at least
half tissue, read as they are. Own images are all used, of the others every N-th (--every, 4). Counted are the area
under the ROC curve per image (ties count half) and the share of images of which more than half is strange.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoproto.data.images import list_images, read_image
from histoproto.inference.background import glass_mask
from histoproto.inference.doubt import STRANGE_FROM
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.reading.opening import open_slide

PIECE = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--own", type=Path, required=True)
    parser.add_argument("--other", type=Path, nargs="*", default=[])
    parser.add_argument("--slides", type=Path, nargs="*", default=[])
    parser.add_argument("--every", type=int, default=4)
    arguments = parser.parse_args()
    print("| run | images | number | AUROC | called strange % |\n|---|---|---|---|---|")
    for run in arguments.runs:
        segmenter = Segmenter.load(run)
        segmenter.overlap = 0.0
        own = scores(segmenter, (read_image(path) for path in list_images(arguments.own)))
        print(f"| {run} | {arguments.own} | {len(own)} | – | {called(own)} |", flush=True)
        for folder in arguments.other:
            other = scores(segmenter, (read_image(path) for path in list_images(folder)[:: arguments.every]))
            print(f"| | {folder} | {len(other)} | {auroc(other, own):.3f} | {called(other)} |", flush=True)
        for slide in arguments.slides:
            other = scores(segmenter, pieces(slide))
            print(f"| | {slide.name} | {len(other)} | {auroc(other, own):.3f} | {called(other)} |", flush=True)


def scores(segmenter: Segmenter, images: Iterator[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Share of the tissue of each image that is strange."""
    found = [result.strange for result in segmenter.stream(images)]
    return np.array([share for share in found if share is not None])


def pieces(slide: Path) -> Iterator[NDArray[np.uint8]]:
    with open_slide(slide) as reader:
        for top in range(0, reader.height - PIECE + 1, PIECE):
            for left in range(0, reader.width - PIECE + 1, PIECE):
                image = reader.read(left, top, PIECE, PIECE)
                if glass_mask(image).mean() < 0.5:
                    yield image


def auroc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    difference = positive[:, None] - negative
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def called(shares: NDArray[np.float64]) -> str:
    return f"{100 * (shares > STRANGE_FROM).mean():.1f}"


if __name__ == "__main__":
    main()
