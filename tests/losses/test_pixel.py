"""Losses of pixels, against slow loops."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from histoproto.inference.background import bright_pixels
from histoproto.losses.pixel import pixel_loss, pseudo_mask


def test_pixel_loss_against_a_loop() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels = torch.randint(-1, 4, (2, 8, 8))  # −1 and 3 are to be ignored
    weights = torch.tensor([1.0, 2.0, 0.5])
    large = F.interpolate(maps, (8, 8), mode="bilinear", align_corners=False)
    total, mass = 0.0, 0.0
    for b in range(2):
        for i in range(8):
            for j in range(8):
                label = int(labels[b, i, j])
                if 0 <= label < 3:
                    total = total - weights[label] * large[b, :, i, j].log_softmax(dim=0)[label]
                    mass += float(weights[label])
    found = pixel_loss(maps, labels, weights)
    torch.testing.assert_close(found, total / mass)
    (expected,) = torch.autograd.grad(total / mass, maps)
    (gradient,) = torch.autograd.grad(found, maps)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    assert pixel_loss(maps, torch.full((2, 8, 8), 3)) == 0


def test_pixel_loss_of_coarse_maps_takes_two_pixels_a_cell() -> None:
    """Those that are every fourth of an image with cells of eight, each with the logits of its own place."""
    torch.manual_seed(0)
    maps, labels = torch.randn(2, 3, 4, 5), torch.randint(-1, 3, (2, 32, 40))
    large = F.interpolate(maps, (32, 40), mode="bilinear", align_corners=False)[..., 2::4, 2::4]
    expected = F.cross_entropy(large, labels[..., 2::4, 2::4], ignore_index=-1)
    torch.testing.assert_close(pixel_loss(maps, labels), expected)
    every = F.cross_entropy(F.interpolate(maps, (32, 40), mode="bilinear"), labels, ignore_index=-1)
    assert abs(float(expected - every)) < 0.1  # of labels that are noise; of those of tissue it is nothing


def test_pseudo_mask_against_a_loop() -> None:
    torch.manual_seed(0)
    maps, present = torch.randn(4, 3, 5, 6), torch.tensor([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]])
    found = pseudo_mask(maps, present)
    for image, row, column in np.ndindex(4, 5, 6):
        allowed = [tissue for tissue in range(3) if present[image, tissue]]
        best = max(allowed, key=lambda tissue: float(maps[image, tissue, row, column]), default=-1)
        assert found[image, row, column] == best
    white = torch.full((4, 3, 5, 6), 0.9)
    white[:, 0, :, :3] = 0.5
    assert not bright_pixels(white)[..., :3].any()
    assert bright_pixels(white)[..., 3:].all()
