"""The same network with other layers: quicker to run, or possible to export. Weights are shared, numbers stay."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from histoproto.model.atrous import PhasedConv2d
from histoproto.model.lite0 import SameConv2d
from histoproto.model.network import Network


@torch.no_grad()
def fold_normalisation(network: Network) -> Network:
    """A network in evaluation mode with each batch normalisation inside the convolution before it.

    Both are linear, so one convolution does the work of two layers; what remains is a pass over memory less. Which
    convolution stands before a normalisation is read off the order of definition, which no rule demands of an encoder.
    So the result is tried on an image, and where it differs the network is given back as it was.

    Args:
        network: is not changed.
    """
    folded = copy.deepcopy(network)
    _fold(folded)
    probe = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before, after = network.class_maps(probe), folded.class_maps(probe)
    same = all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(before.maps, after.maps, strict=True))
    return folded if same else network


def _fold(module: nn.Module) -> None:
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        _fold(child)
        if (
            isinstance(child, nn.BatchNorm2d)
            and isinstance(before, nn.Conv2d)
            and before.out_channels == child.num_features
            and child.running_mean is not None
            and child.running_var is not None
        ):
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight,
                before.bias,
                child.running_mean,
                child.running_var,
                child.eps,
                child.weight,
                child.bias,
            )
            setattr(module, name, getattr(child, "act", nn.Identity()))  # timm's normalisations carry their activation
        before = child


def exportable(network: Network) -> Network:
    """A network without layers whose sums over the size of the image an exporter cannot follow.

    `PhasedConv2d` becomes the dilated convolution that it stands for, and "same" padding (TensorFlow's, which depends
    on the size) the constant that it is for sides that are even wherever a stride halves them. Multiples of 32 are,
    and `Segmenter` gives no others.

    Args:
        network: is not changed.
    """
    twin = copy.deepcopy(network)
    _make_exportable(twin)
    return twin


def _make_exportable(module: nn.Module) -> None:
    from timm.layers import Conv2dSame

    for name, child in list(module.named_children()):
        if isinstance(child, PhasedConv2d):
            setattr(module, name, _plain(child, child.padding))
        elif isinstance(child, Conv2dSame | SameConv2d):
            spans = [
                (size - 1) * dilation + 1 - stride
                for size, dilation, stride in zip(child.kernel_size, child.dilation, child.stride, strict=True)
            ]
            sides = [part for span in reversed(spans) for part in (span // 2, span - span // 2)]
            setattr(module, name, nn.Sequential(nn.ConstantPad2d(tuple(sides), 0.0), _plain(child, 0)))
        else:
            _make_exportable(child)


def _plain(conv: nn.Conv2d, padding: object) -> nn.Conv2d:
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=padding,  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
        device="meta",
    )
    plain.weight, plain.bias = conv.weight, conv.bias
    return plain
