"""What colour alone can do: the score that a method must beat before texture and nuclei can be said to count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

from histoproto.data.images import read_image
from histoproto.data.layouts import DataFolder, Patch
from histoproto.data.masks import read_mask
from histoproto.errors import DataError
from histoproto.evaluation.confusion import confusion_matrix, scores
from histoproto.tissue import TissueSet

_BINS = 32


@dataclass(frozen=True)
class ColourBaseline:
    """Mean IoU on the test patches (background ignored) from the smoothed colour of each pixel, and the smoothing.

    Attributes:
        lookup: the best table from colour to tissue, made with the *pixel* labels of the very patches it is scored on:
            an upper bound of what thresholds on colour can do.
        lookup_smoothing: the Gaussian sigma in pixels with which it does best.
        clustered: k-means into as many colours as tissues, given the best matching of colours to tissues.
        clustered_smoothing: the sigma with which that does best.
    """

    lookup: float
    lookup_smoothing: float
    clustered: float
    clustered_smoothing: float


def colour_baseline(data: DataFolder, smoothing: Sequence[float] = (0, 2, 4, 6, 8), seed: int = 0) -> ColourBaseline:
    """The best that colour alone gives on the masked test patches of a data folder.

    Raises:
        DataError: there are none.
    """
    tissues, patches = len(data.tissues), data.split("test")
    lookup, clustered = [], []
    for sigma in smoothing:
        colours, labels = _pixels(patches, data.tissues, sigma)
        lookup.append((_score(_look_up(colours, labels, tissues), labels, tissues), sigma))
        clustered.append((_score(_cluster(colours, labels, tissues, seed), labels, tissues), sigma))
    return ColourBaseline(*max(lookup), *max(clustered))


def _pixels(patches: Sequence[Patch], tissues: TissueSet, sigma: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Smoothed colours (N × 3) and labels (N) of all tissue pixels."""
    colours, labels = [], []
    for patch in patches:
        if patch.mask is None:
            raise DataError(f"{patch.image} has no mask; a colour baseline needs one for every test patch")
        truth = read_mask(patch.mask, tissues)
        smooth = gaussian_filter(read_image(patch.image), (sigma, sigma, 0))
        colours.append(smooth[truth < len(tissues)])
        labels.append(truth[truth < len(tissues)])
    return np.concatenate(colours), np.concatenate(labels)


def _look_up(colours: NDArray[np.uint8], labels: NDArray[np.uint8], tissues: int) -> NDArray[np.uint8]:
    """Each pixel's tissue by the most frequent one of its colour, in a slightly smoothed table of 32³ colours."""
    places = _bin(colours)
    counts = np.bincount(places + labels.astype(np.int64) * _BINS**3, minlength=tissues * _BINS**3)
    table = gaussian_filter(counts.reshape(tissues, _BINS, _BINS, _BINS).astype(np.float32), (0, 0.7, 0.7, 0.7))
    commonest: NDArray[np.uint8] = table.reshape(tissues, -1).argmax(axis=0).astype(np.uint8)
    return commonest[places]


def _bin(colours: NDArray[np.uint8]) -> NDArray[np.int64]:
    red, green, blue = (colours // (256 // _BINS)).astype(np.int64).T
    place: NDArray[np.int64] = (red * _BINS + green) * _BINS + blue
    return place


def _cluster(colours: NDArray[np.uint8], labels: NDArray[np.uint8], tissues: int, seed: int) -> NDArray[np.uint8]:
    sample = colours[:: max(1, len(colours) // 50_000)].astype(np.float32)
    centres, _ = kmeans2(sample, tissues, minit="++", rng=seed)
    distance = np.stack([((colours - centre) ** 2).sum(axis=1) for centre in centres.astype(np.float32)])
    nearest = distance.argmin(axis=0).astype(np.uint8)
    _, columns = linear_sum_assignment(-confusion_matrix(nearest, labels, tissues)[:tissues, :tissues].T)
    matched: NDArray[np.uint8] = columns.astype(np.uint8)[nearest]
    return matched


def _score(predicted: NDArray[np.uint8], labels: NDArray[np.uint8], tissues: int) -> float:
    return scores(confusion_matrix(predicted, labels, tissues)).miou
