"""Dilated convolutions by phases."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from histoproto.model.atrous import PhasedConv2d, phase_dilated_convolutions


@pytest.mark.parametrize("shape", [(8, 8), (7, 9), (1, 1)])
def test_phased_convolution_equals_the_dilated_one(shape: tuple[int, int]) -> None:
    conv = nn.Conv2d(6, 6, 5, padding=8, dilation=4, groups=6, dtype=torch.double)
    both = nn.Sequential(conv, nn.Conv2d(6, 6, 3, padding=1, dtype=torch.double))
    x = torch.randn(2, 6, *shape, dtype=torch.double, requires_grad=True)
    plain = conv(x)
    expected = torch.autograd.grad(plain.square().sum(), [x, conv.weight, conv.bias])
    phase_dilated_convolutions(both)
    assert [type(m) for m in both] == [PhasedConv2d, nn.Conv2d]
    phased = both[0](x)
    torch.testing.assert_close(phased, plain)
    found = torch.autograd.grad(phased.square().sum(), [x, conv.weight, conv.bias])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
