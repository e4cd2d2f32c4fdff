from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from histoproto.evaluation.boundary import boundary_counts, boundary_iou

TISSUES = 3


def blobs(seed: int, shape: tuple[int, int] = (40, 50)) -> NDArray[np.uint8]:
    """A smooth random label map of 0 … 3."""
    noise = np.random.default_rng(seed).normal(size=(TISSUES + 1, *shape))
    return ndimage.gaussian_filter(noise, (0, 4, 4)).argmax(axis=0).astype(np.uint8)


def slow_counts(
    predicted: NDArray[np.uint8], true: NDArray[np.uint8], ignored: bool, band: float, frame: bool
) -> NDArray[np.int64]:
    """From the definition: distances of each pixel to each, one by one."""
    height, width = true.shape
    reach = max(1, round(band * math.sqrt(height**2 + width**2)))
    unknown = (true == TISSUES) & ignored

    def band_of(labels: NDArray[np.uint8], tissue: int) -> set[tuple[int, int]]:
        found = set()
        for r, c in np.argwhere((labels == tissue) & ~unknown).tolist():
            for y in range(r - reach, r + reach + 1):
                for x in range(c - reach, c + reach + 1):
                    if 0 <= y < height and 0 <= x < width:
                        if labels[y, x] != tissue and not unknown[y, x]:
                            found.add((r, c))
                    elif frame:
                        found.add((r, c))
        return found

    pairs = [(band_of(predicted, tissue), band_of(true, tissue)) for tissue in range(TISSUES)]
    return np.array([(len(ours & theirs), len(ours | theirs)) for ours, theirs in pairs])


@pytest.mark.parametrize("frame", [True, False])
@pytest.mark.parametrize("ignored", [True, False])
@pytest.mark.parametrize("band", [0.02, 0.06])
def test_against_the_definition(frame: bool, ignored: bool, band: float) -> None:
    predicted, true = blobs(1), blobs(2)
    predicted[:20] = true[:20]
    found = boundary_counts(predicted, true, TISSUES, "ignored" if ignored else "counted", band, frame)
    expected = slow_counts(predicted, true, ignored, band, frame)
    assert np.array_equal(found, expected)
    assert (expected[:, 0] > 0).all()


def test_with_the_frame_it_is_the_authors_erosion() -> None:
    """mask − mask eroded d times by 3 × 3 with zeros around the image, as in the published code."""
    predicted, true = blobs(3), blobs(4)
    reach = round(0.05 * math.hypot(*true.shape))

    def band_of(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=reach, border_value=0)

    for tissue in range(TISSUES):
        ours, theirs = band_of(predicted == tissue), band_of(true == tissue)
        counts = boundary_counts(predicted, true, TISSUES, "counted", 0.05, frame=True)[tissue]
        assert counts.tolist() == [(ours & theirs).sum(), (ours | theirs).sum()]


def test_limits() -> None:
    true = blobs(5)
    perfect = boundary_iou(boundary_counts(true, true, TISSUES))
    assert (perfect == 1).all()
    plain = np.zeros((32, 32), np.uint8)
    assert np.isnan(boundary_iou(boundary_counts(plain, plain, TISSUES))).all()  # a patch of one tissue has no outline
    assert boundary_iou(boundary_counts(plain, plain, TISSUES, frame=True))[0] == 1
    nothing = np.full((32, 32), TISSUES, np.uint8)
    assert not boundary_counts(plain, nothing, TISSUES).any()  # ignored
