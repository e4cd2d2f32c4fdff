"""Class activation maps."""

from __future__ import annotations

import torch

from histoproto.methods.registry import build_method
from tiny import settings_of


def test_grad_cam_of_the_linear_network_is_its_cam() -> None:
    """Up to a constant and a positive factor: gradients of the pooled logit are the classifier's weights / (h·w)."""
    torch.manual_seed(0)
    network = build_method(settings_of("cam"), torch.tensor([0.5, 0.5])).network.eval()
    features = network.encoder(torch.rand(1, 3, 64, 64))[-1].detach().requires_grad_(True)
    maps = network.classifier(features)
    for tissue in range(2):
        (gradient,) = torch.autograd.grad(maps.mean(dim=(2, 3))[0, tissue], features, retain_graph=True)
        grad_cam = (gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1)[0]
        cam = maps[0, tissue] - network.classifier.bias[tissue]
        torch.testing.assert_close(grad_cam * features.shape[2] * features.shape[3], cam, rtol=1e-4, atol=1e-5)
