from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.classification import MultilabelAveragePrecision, MultilabelF1Score

from histoproto.evaluation.classifier import average_precision, classifier_scores


@pytest.mark.parametrize("decimals", [1, 6])
def test_against_torchmetrics(decimals: int) -> None:
    """With one decimal there are many ties."""
    rng = np.random.default_rng(0)
    present = rng.random((60, 3)) < 0.4
    probabilities = np.clip(rng.random((60, 3)) * 0.7 + 0.3 * present, 0, 1).round(decimals)
    found = classifier_scores(probabilities, present, (0.5, 0.5, 0.5))
    ours, theirs = torch.from_numpy(probabilities), torch.from_numpy(present).long()
    precision = MultilabelAveragePrecision(3, average="none")(ours, theirs)
    np.testing.assert_allclose(found.average_precision, precision, rtol=1e-5)
    f1 = MultilabelF1Score(3, average="none", threshold=0.5 - 1e-9)(ours, theirs)
    np.testing.assert_allclose(found.f1, f1, rtol=1e-5)
    assert found.mean_average_precision == pytest.approx(float(precision.mean()), rel=1e-5)
    assert found.mean_f1 == pytest.approx(float(f1.mean()), rel=1e-5)


def test_each_tissue_has_its_own_threshold() -> None:
    probabilities = np.array([[0.3, 0.3], [0.1, 0.1]])
    present = np.array([[True, True], [False, False]])
    assert classifier_scores(probabilities, present, (0.2, 0.4)).f1.tolist() == [1, 0]


def test_a_tissue_without_a_positive_is_left_out() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.3]])
    found = classifier_scores(probabilities, np.array([[True, False], [False, False]]), (0.5, 0.5))
    assert math.isnan(found.average_precision[1])
    assert math.isnan(found.f1[1])
    assert (found.mean_average_precision, found.mean_f1) == (1, 1)
    assert math.isnan(average_precision(np.zeros(0), np.zeros(0, bool)))
