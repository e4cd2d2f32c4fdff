"""Image-level classification, against a loop and at its limits."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from histoproto.losses.classification import balancing_weights, classification_loss
from same import assert_same, gradient

B, C, K, D, S = 3, 4, 3, 6, 5


def test_classification_against_loop(generator: torch.Generator) -> None:
    logits = [torch.randn(B, C, generator=generator, requires_grad=True) for _ in range(3)]
    labels = (torch.rand(B, C, generator=generator) < 0.5).float()
    slow = torch.zeros(())
    for z, weight in zip(logits, (0.1, 1.0, 2.0), strict=True):
        for b, c in itertools.product(range(B), range(C)):
            p = 1 / (1 + torch.exp(-z[b, c]))
            slow = slow - weight * torch.log(p if labels[b, c] else 1 - p) / (B * C)
    assert_same(classification_loss(logits, labels, (0.1, 1.0, 2.0)), slow, *logits)


def test_balanced_classification_ignores_how_common_a_tissue_is() -> None:
    """Nine patches with a tissue and one without it weigh the same."""
    labels = torch.tensor([[1.0]] * 9 + [[0.0]])
    weights = balancing_weights(labels.mean(dim=0))
    right, wrong = torch.full((9, 1), 2.0), torch.full((1, 1), 2.0)
    loss = classification_loss([torch.cat([right, wrong])], labels, (1.0,), weights)
    expected = (F.softplus(torch.tensor(-2.0)) + F.softplus(torch.tensor(2.0))) / 2
    torch.testing.assert_close(loss, expected)
    assert balancing_weights(torch.tensor([0.0, 1.0])).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", ["plain", "extreme", "no tissue", "zeros", "one tissue"])
def test_classification_is_never_nan(dtype: torch.dtype, case: str) -> None:
    tissues = 1 if case == "one tissue" else C
    z = (torch.randn(B, tissues) * (1e4 if case == "extreme" else 1 if case != "zeros" else 0)).to(dtype)
    labels = torch.zeros(B, tissues) if case == "no tissue" else (torch.rand(B, tissues) < 0.5).float()
    z.requires_grad_()
    loss = classification_loss([z, z, z], labels, (0.1, 1.0, 1.0), balancing_weights(labels.mean(dim=0)))
    assert loss >= 0
    assert loss.isfinite()
    assert gradient(loss, z)[0].isfinite().all()
