"""What the dense CRF is made of: features of colour, and blurs on a grid of cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from histoproto.inference.pairwise import PixelGrid, choose_palette, colour_features


def test_nystrom_features_give_the_colour_kernel() -> None:
    chance = torch.Generator().manual_seed(0)
    colours = torch.rand(2, 300, 3, generator=chance, dtype=torch.float64) * torch.tensor([4.0, 2.0, 1.0])
    wanted = torch.exp(torch.cdist(colours, colours).square() / -2)
    errors = []
    for count in (8, 32, 128):
        features = colour_features(colours, choose_palette(colours, count))
        errors.append((features @ features.transpose(1, 2) - wanted).abs().max().item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.1
    assert errors[2] < 5e-3


def test_grid_blurs_by_the_reach_asked_for() -> None:
    """Spread, blur and read of one pixel, measured: unit mass times that of the Gaussian, and its variance."""
    grid = PixelGrid(120, 120, 8, torch.zeros(0, dtype=torch.float64))
    y = torch.arange(120, dtype=torch.float64)
    variances = []
    for at in range(56, 64):
        point = torch.zeros(1, 1, 120, 120, dtype=torch.float64)
        point[0, 0, at, at] = 1
        ones = torch.ones(225, 64, 1, dtype=torch.float64)
        blurred = grid.from_cells(grid.read(grid.blur(grid.spread(grid.to_cells(point), ones), 10.0), ones))
        along = blurred[0, 0].sum(1) / blurred.sum()
        variances.append((along * (y - at).square()).sum().item())
    assert np.mean(variances) == pytest.approx(100, rel=0.02)


def test_cells_and_back() -> None:
    maps = torch.arange(2 * 3 * 13 * 17).view(2, 3, 13, 17).float()
    grid = PixelGrid(13, 17, 8, maps)
    assert torch.equal(grid.from_cells(grid.to_cells(maps)), maps)
