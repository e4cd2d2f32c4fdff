"""Depthwise convolution with a weight gradient of its own."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from histoproto.model import depthwise
from histoproto.model.depthwise import depthwise_conv2d


@pytest.mark.parametrize(("shape", "kernel"), [((4, 4), (5, 5)), ((3, 1), (5, 3)), ((1, 2), (3, 7))])
def test_gradients_equal_those_of_the_plain_convolution(shape: tuple[int, int], kernel: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)

    def random(*sizes: int) -> Any:
        return torch.randn(*sizes, generator=generator, dtype=torch.double).requires_grad_()

    x, weight, bias = random(3, 4, *shape), random(4, 1, *kernel), random(4)
    found = depthwise_conv2d(x, weight, bias)
    assert "SmallMaps" in type(found.grad_fn).__name__
    expected = F.conv2d(x, weight, bias, padding=(kernel[0] // 2, kernel[1] // 2), groups=4)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(found.shape, generator=generator, dtype=torch.double)
    pairs = zip(*(torch.autograd.grad(y, (x, weight, bias), upstream) for y in (found, expected)), strict=True)
    for ours, plain in pairs:
        torch.testing.assert_close(ours, plain)
    assert torch.autograd.gradcheck(depthwise_conv2d, (x, weight, bias))
    assert torch.autograd.gradcheck(depthwise_conv2d, (x.detach(), weight, None))


def test_only_small_maps_in_training_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere torch's own is as quick or quicker, can be exported, and keeps to the types of autocast."""

    def never(*args: object) -> None:
        raise AssertionError

    monkeypatch.setattr(depthwise._SmallMaps, "apply", never)
    weight = torch.randn(4, 1, 5, 5, requires_grad=True)
    small, large = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 5, 4)
    depthwise_conv2d(large, weight, None)
    depthwise_conv2d(small, weight.detach(), None)
    with torch.no_grad():
        depthwise_conv2d(small, weight, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert depthwise_conv2d(small, weight, None).dtype == torch.bfloat16
    with pytest.raises(AssertionError):
        depthwise_conv2d(small, weight, None)
