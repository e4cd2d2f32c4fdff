"""What colour alone can do: the score that a method must beat before texture and nuclei can be said to count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

from histoproto.data.images import read_image, read_mask
from histoproto.data.layouts import DataFolder, Patch
from histoproto.errors import DataError
from histoproto.evaluation.confusion import confusion_matrix, scores
from histoproto.tissue import TissueSet

_BINS = 32


@dataclass(frozen=True)
class ColourBaseline:
    """Mean IoU on the test patches (background ignored) from the smoothed colour of each pixel, and the smoothing.

    Attributes:
        supervised: Bayes classifier on a colour histogram, fitted with the *pixel* labels of the val patches; the
            smoothing that scores best on the test patches is taken: more than colour can honestly give.
        supervised_smoothing: its Gaussian sigma in pixels.
        clustered: k-means into as many colours as tissues, given the best matching of colours to tissues.
        clustered_smoothing: its Gaussian sigma in pixels.
    """

    supervised: float
    supervised_smoothing: float
    clustered: float
    clustered_smoothing: float


def colour_baseline(
    data: DataFolder, smoothing: Sequence[float] = (0, 1, 2, 4, 8, 12), seed: int = 0
) -> ColourBaseline:
    """The best that colour alone gives on a data folder with masked val and test patches.

    Raises:
        DataError: val or test has no masked patches.
    """
    supervised, clustered = [], []
    for sigma in smoothing:
        known, known_labels = _pixels(data.split("val"), data.tissues, sigma)
        unknown, labels = _pixels(data.split("test"), data.tissues, sigma)
        supervised.append(
            (_score(_bayes(known, known_labels, unknown, len(data.tissues)), labels, data.tissues), sigma)
        )
        clustered.append((_score(_cluster(unknown, labels, len(data.tissues), seed), labels, data.tissues), sigma))
    return ColourBaseline(*max(supervised), *max(clustered))


def _pixels(patches: Sequence[Patch], tissues: TissueSet, sigma: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Smoothed colours (N × 3) and labels (N) of all tissue pixels."""
    colours, labels = [], []
    for patch in patches:
        if patch.mask is None:
            raise DataError(f"{patch.image} has no mask; a colour baseline needs one for every val and test patch")
        truth = read_mask(patch.mask, tissues)
        smooth = gaussian_filter(read_image(patch.image), (sigma, sigma, 0))
        colours.append(smooth[truth < len(tissues)])
        labels.append(truth[truth < len(tissues)])
    return np.concatenate(colours), np.concatenate(labels)


def _bayes(
    known: NDArray[np.uint8], known_labels: NDArray[np.uint8], unknown: NDArray[np.uint8], tissues: int
) -> NDArray[np.uint8]:
    """The most frequent tissue of each colour, in a smoothed histogram of 32 × 32 × 32 colours."""
    shape = (tissues, _BINS, _BINS, _BINS)
    counts = np.bincount(_bin(known) + known_labels.astype(np.int64) * _BINS**3, minlength=tissues * _BINS**3)
    # the wide second term only decides on colours that were never seen
    smooth = sum(
        weight * gaussian_filter(counts.reshape(shape).astype(np.float32), (0, s, s, s))
        for weight, s in ((1.0, 0.7), (1e-3, 4.0))
    )
    return np.asarray(np.reshape(smooth, (tissues, -1)).argmax(axis=0), dtype=np.uint8)[_bin(unknown)]


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


def _score(predicted: NDArray[np.uint8], labels: NDArray[np.uint8], tissues: TissueSet) -> float:
    return scores(confusion_matrix(predicted, labels, len(tissues))).miou
