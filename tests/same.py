"""Comparing a fast computation with a slow one, gradients included."""

from __future__ import annotations

import torch
from torch import Tensor


def gradient(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs))


def assert_same(fast: Tensor, slow: Tensor, *inputs: Tensor) -> None:
    torch.testing.assert_close(fast.double(), slow.double(), rtol=1e-5, atol=1e-7)
    for a, b in zip(gradient(fast, *inputs), gradient(slow, *inputs), strict=True):
        assert a.abs().sum() > 0
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)
