"""Depthwise convolution on small maps with a weight gradient that is quick on a CPU.

Where a map is smaller than the kernel, oneDNN has no kernel of its own for the gradient of the weights and multiplies a
small matrix per channel: on 16 patches of 128 px, three such layers took a sixth of a training step on processors with
AVX2, each twenty times as long as its forward pass. That gradient, however, is a depthwise convolution itself, of each
image's inputs with its output gradients as the kernel, summed over the images; for that there is a quick kernel.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.conv2d` of B×C×H×W with one odd kernel per channel, C×1×k×l, stride 1 and "same" zero padding.

    On a CPU, maps smaller than the kernel have a weight gradient of ours; it cannot be differentiated again.
    """
    small = x.shape[-2] < weight.shape[-2] and x.shape[-1] < weight.shape[-1]
    trains = torch.is_grad_enabled() and weight.requires_grad and not torch.is_autocast_enabled(x.device.type)
    if small and trains and x.device.type == "cpu" and x.dtype == weight.dtype:
        found: Tensor = _SmallMaps.apply(x, weight, bias)
        return found
    return plain_depthwise_conv2d(x, weight, bias)


def plain_depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same with torch's own gradients."""
    return F.conv2d(x, weight, bias, padding=_same(weight), groups=len(weight))


def _same(weight: Tensor) -> tuple[int, int]:
    return weight.shape[-2] // 2, weight.shape[-1] // 2


class _SmallMaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return plain_depthwise_conv2d(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        x, weight = ctx.saved_tensors
        wanted, _, biased = ctx.needs_input_grad
        same, groups = _same(weight), len(weight)
        inputs = conv2d_input(x.shape, weight, gradient, padding=same, groups=groups) if wanted else None
        return inputs, weight_gradient(x, gradient, same), gradient.sum(dim=(0, 2, 3)) if biased else None


def weight_gradient(x: Tensor, gradient: Tensor, padding: tuple[int, int]) -> Tensor:
    """Gradient C×1×k×l of the kernels of a depthwise convolution, of its inputs and output gradients, both B×C×H×W.

    Images and channels together are the groups of one convolution, whose kernels are the output gradients.
    """
    batch, channels, height, width = x.shape
    images = x.permute(2, 3, 0, 1).reshape(1, height, width, -1).permute(0, 3, 1, 2)  # channels-last in memory
    kernels = gradient.permute(2, 3, 0, 1).reshape(1, height, width, -1).permute(3, 0, 1, 2)
    products = F.conv2d(images, kernels, padding=padding, groups=batch * channels)[0]
    rows, columns = products.shape[-2:]
    return products.permute(1, 2, 0).reshape(rows, columns, batch, channels).sum(dim=2).permute(2, 0, 1)[:, None]
