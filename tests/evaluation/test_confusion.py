from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassJaccardIndex
from torchmetrics.segmentation import DiceScore

from histoproto.evaluation.confusion import confusion_matrix, mislabelled_pixels, scores

TISSUES = 4


def label_maps(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Predicted and true, 6 images, values 0 … 4 (4 is background), with a fair number of agreements."""
    rng = np.random.default_rng(seed)
    true = rng.choice(5, (6, 20, 30), p=[0.4, 0.3, 0.15, 0.05, 0.1]).astype(np.uint8)
    predicted = np.where(rng.random(true.shape) < 0.6, true, rng.integers(0, 5, true.shape)).astype(np.uint8)
    return predicted, true


def by_hand(predicted: NDArray[np.uint8], true: NDArray[np.uint8], counted: bool) -> dict[str, list[float]]:
    """IoU and Dice from sets of pixels."""
    scored = np.ones(true.shape, bool) if counted else true != TISSUES
    result: dict[str, list[float]] = {"iou": [], "dice": []}
    for tissue in range(TISSUES):
        ours = set(np.flatnonzero((predicted == tissue) & scored).tolist())
        theirs = set(np.flatnonzero((true == tissue) & scored).tolist())
        result["iou"].append(len(ours & theirs) / len(ours | theirs) if ours | theirs else math.nan)
        result["dice"].append(2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours | theirs else math.nan)
    return result


def test_the_matrix_is_that_of_torchmetrics() -> None:
    predicted, true = label_maps(0)
    ours = sum(confusion_matrix(p, t, TISSUES) for p, t in zip(predicted, true, strict=True))
    theirs = MulticlassConfusionMatrix(TISSUES + 1)(torch.from_numpy(predicted), torch.from_numpy(true))
    assert np.array_equal(ours, theirs.numpy())


@pytest.mark.parametrize("counted", [True, False])
def test_scores_against_sets_of_pixels(counted: bool) -> None:
    predicted, true = label_maps(1)
    found = scores(confusion_matrix(predicted, true, TISSUES), "counted" if counted else "ignored")
    expected = by_hand(predicted, true, counted)
    np.testing.assert_allclose(found.iou, expected["iou"])
    np.testing.assert_allclose(found.dice, expected["dice"])
    assert found.miou == pytest.approx(np.mean(expected["iou"]))
    assert found.mdice == pytest.approx(np.mean(expected["dice"]))


@pytest.mark.parametrize("counted", [True, False])
def test_scores_against_torchmetrics(counted: bool) -> None:
    predicted, true = label_maps(2)
    found = scores(confusion_matrix(predicted, true, TISSUES), "counted" if counted else "ignored")
    # One tensor of all pixels: torchmetrics would otherwise average over images.
    ours, theirs = torch.from_numpy(predicted).reshape(1, -1), torch.from_numpy(true).reshape(1, -1)
    if not counted:
        ours, theirs = ours[theirs < TISSUES][None], theirs[theirs < TISSUES][None]
    iou = MulticlassJaccardIndex(TISSUES + 1, average="none")(ours, theirs)[:TISSUES].double().numpy()
    np.testing.assert_allclose(found.iou, iou, rtol=1e-5)
    dice = DiceScore(TISSUES + 1, average="none", include_background=True, input_format="index")(
        ours.long(), theirs.long()
    )
    np.testing.assert_allclose(found.dice, dice[:TISSUES].double().numpy(), rtol=1e-5)
    accuracy = MulticlassAccuracy(TISSUES + 1, average="micro")(ours, theirs)
    assert found.pixel_accuracy == pytest.approx(float(accuracy), rel=1e-5)
    frequency = torch.bincount(theirs[theirs < TISSUES].long(), minlength=TISSUES).double().numpy()
    assert found.fwiou == pytest.approx((frequency / frequency.sum() * iou).sum(), rel=1e-5)


def test_background_ignored_and_counted() -> None:
    true = np.array([0, 0, 0, 2, 2], np.uint8)
    predicted = np.array([0, 0, 2, 0, 2], np.uint8)  # one tissue pixel lost to background, one false alarm
    matrix = confusion_matrix(predicted, true, 2)
    assert scores(matrix, "ignored").iou[0] == pytest.approx(2 / 3)
    assert scores(matrix, "counted").iou[0] == pytest.approx(2 / 4)
    assert scores(matrix, "ignored").pixel_accuracy == pytest.approx(2 / 3)
    assert scores(matrix, "counted").pixel_accuracy == pytest.approx(3 / 5)


def test_a_tissue_that_is_nowhere_is_left_out_of_the_mean() -> None:
    found = scores(confusion_matrix(np.array([0, 0, 1], np.uint8), np.array([0, 1, 1], np.uint8), 3))
    assert math.isnan(found.iou[2])
    assert math.isnan(found.dice[2])
    assert found.miou == pytest.approx((1 / 2 + 1 / 2) / 2)
    # Predicted where it is not, it counts as 0.
    found = scores(confusion_matrix(np.array([0, 2, 1], np.uint8), np.array([0, 1, 1], np.uint8), 3))
    assert found.iou.tolist() == [1, 0.5, 0]


def test_nothing_to_score_is_nan() -> None:
    found = scores(np.zeros((4, 4), np.int64))
    assert np.isnan([found.miou, found.mdice, found.fwiou, found.pixel_accuracy]).all()


def test_mislabelled_pixels() -> None:
    true = np.array([0, 0, 0, 0, 3, 3], np.uint8)
    predicted = np.array([0, 1, 1, 3, 2, 0], np.uint8)
    matrix = confusion_matrix(predicted, true, 3)
    assert mislabelled_pixels(matrix, "ignored") == 2
    assert mislabelled_pixels(matrix, "counted") == 3


def test_maps_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 3)
