"""Examples of a model's work, the best, the median and the worst of a data set: image, truth, mask, activation maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from histoproto.config import InferenceSettings
from histoproto.data.images import read_image
from histoproto.data.layouts import Patch
from histoproto.evaluation.patches import evaluate_patches
from histoproto.inference.segmenter import Segmentation, Segmenter
from histoproto.report.pictures import data_uri, heat, shrink, stretch
from histoproto.tissue import TissueSet

Item = TypeVar("Item")

SIDE = 336
"""Longest side of a picture in the report, in pixels."""


@dataclass(frozen=True)
class Activation:
    """The activation map of one tissue: whether the classifier let it take part, and with what probability."""

    name: str
    picture: str
    present: bool
    probability: float


@dataclass(frozen=True)
class Example:
    """One image as a row of the gallery; pictures are `data:` addresses."""

    rank: str
    name: str
    score: float | None
    image: str
    truth: str | None
    mask: str
    maps: tuple[Activation, ...]


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` of the items, evenly spaced."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))]


def choose(values: Sequence[float], each: int) -> list[tuple[str, int]]:
    """Best, median and worst: (rank, index) of up to `each` items per rank, none of them twice.

    >>> choose([0.1, 0.9, 0.5, 0.4, 0.8], 1)
    [('best', 1), ('median', 2), ('worst', 0)]
    """
    order = sorted(range(len(values)), key=lambda i: -values[i])
    each = min(each, max(1, len(order) // 3))
    middle = max(each, (len(order) - each) // 2)
    best, median, worst = order[:each], order[middle : middle + each], order[max(middle + each, len(order) - each) :]
    named = (("best", best), ("median", median), ("worst", worst))
    return [(rank, index) for rank, indices in named for index in indices]


def make_gallery(
    segmenter: Segmenter, patches: Sequence[Patch], tissues: TissueSet, each: int = 3, most: int = 200
) -> list[Example]:
    """Segment patches as the model does by default and show some of them.

    With masks, the best, median and worst (see `rank_patches`); without, some as they come.

    Args:
        segmenter: of a trained run.
        patches: all of them with a mask, or none.
        tissues: of the data.
        each: examples per rank.
        most: patches to choose from, evenly spaced over all.

    Raises:
        DataError, ImageError, TissueError: see `evaluate_patches`.
    """
    chosen = spread(patches, most)
    if not all(patch.mask for patch in chosen):
        shown = spread(chosen, 3 * each)
        found = segmenter.stream(patch.image for patch in shown)
        return [_example(segmenter, patch, result, "example") for patch, result in zip(shown, found, strict=True)]
    ranked = rank_patches(segmenter, chosen, tissues, each)
    results = evaluate_patches(segmenter, [patch for _, patch in ranked], tissues)
    return [
        _example(segmenter, result.patch, result.segmentation, rank, result.scores().miou, result.truth)
        for (rank, _), result in zip(ranked, results, strict=True)
    ]


def rank_patches(
    segmenter: Segmenter,
    patches: Sequence[Patch],
    tissues: TissueSet,
    each: int,
    settings: InferenceSettings | None = None,
) -> list[tuple[str, Patch]]:
    """The best, median and worst of masked patches by their own mIoU (predicted labels, background ignored).

    Where enough of them hold several tissues, only those take part: a patch of one tissue is all right or all wrong.

    Args:
        segmenter, patches, tissues, settings: see `evaluate_patches`.
        each: patches per rank.

    Returns:
        (rank, patch), best first.
    """
    rated = [
        (result.patch, result.scores().miou, int(result.present.sum()))
        for result in evaluate_patches(segmenter, patches, tissues, settings)
    ]
    several = [row for row in rated if row[2] > 1]
    rated = several if len(several) >= 3 * each else [row for row in rated if row[2] > 0]
    return [(rank, rated[i][0]) for rank, i in choose([score for _, score, _ in rated], each)]


def _example(
    segmenter: Segmenter,
    patch: Patch,
    result: Segmentation,
    rank: str,
    score: float | None = None,
    truth: NDArray[np.uint8] | None = None,
) -> Example:
    image = read_image(patch.image)
    shown = np.isin(np.arange(len(result.tissues)), result.labels)
    present = shown | (result.probabilities >= np.array(segmenter.card.thresholds))
    maps = tuple(
        Activation(name, data_uri(shrink(heat(image, level), SIDE)), bool(here), float(probability))
        for name, level, here, probability in zip(
            result.tissues.names, stretch(result.scores, present), present, result.probabilities, strict=True
        )
    )

    return Example(
        rank=rank,
        name=patch.image.name,
        score=score,
        image=data_uri(shrink(image, SIDE)),
        truth=None if truth is None else mask_picture(truth, result.tissues),
        mask=mask_picture(result.labels, result.tissues),
        maps=maps,
    )


def mask_picture(labels: NDArray[np.uint8], tissues: TissueSet, side: int = SIDE) -> str:
    """A label map in the colours of its tissues, as a `data:` address."""
    return data_uri(shrink(tissues.palette()[labels], side, exact=True), exact=True)
