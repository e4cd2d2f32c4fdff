"""Filters of the dense CRF that were measured and not chosen: 5-D lattices of only those nodes that pixels touch."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

PACKED_BITS = 12
"""Five coordinates of this many bits make one int64 key, so that nodes are found by sorting integers."""


def permutohedral_vertices(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices of the simplices that hold N×5 points, in standard deviations (Adams et al., Eurographics 2010).

    Returns:
        N×6×5 coordinates (the sixth is minus their sum), N×6 weights, and the 6×5 directions to neighbours.
    """
    d = points.shape[1]
    steps = torch.arange(1, d + 1)
    scaled = points * (math.sqrt(2 / 3) * (d + 1)) / (steps * (steps + 1)).sqrt()
    after = scaled.flip(1).cumsum(1).flip(1)
    elevated = torch.cat([after, torch.zeros_like(after[:, :1])], 1)
    elevated[:, 1:] -= steps * scaled
    base = (elevated / (d + 1)).round() * (d + 1)
    rank = (elevated - base).argsort(dim=1, descending=True, stable=True).argsort(1)
    rank = rank + (base.sum(1, keepdim=True) / (d + 1)).round().long()
    wrap = (rank < 0).long() - (rank > d).long()
    rank, base = rank + wrap * (d + 1), base + wrap * (d + 1)
    rest = (elevated - base) / (d + 1)
    weights = points.new_zeros(len(points), d + 2)
    weights.scatter_add_(1, d - rank, rest)
    weights.scatter_add_(1, d + 1 - rank, -rest)
    weights[:, 0] += 1 + weights[:, d + 1]
    remainder = torch.arange(d + 1)[:, None]
    vertex = base.long()[:, None] + remainder - (rank[:, None] > d - remainder).long() * (d + 1)
    axes = torch.full((d + 1, d), -1) + (d + 1) * torch.eye(d + 1, d, dtype=torch.long)
    return vertex[..., :d], weights[:, : d + 1], axes


def grid_vertices(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same for the cells of a bilateral grid (Paris & Durand, ECCV 2006), one standard deviation wide."""
    base = points.floor()
    rest = points - base
    corners = torch.tensor(list(product((0, 1), repeat=points.shape[1])))
    weights = torch.where(corners == 1, rest[:, None], 1 - rest[:, None]).prod(2)
    return base.long()[:, None] + corners, weights, torch.eye(points.shape[1], dtype=torch.long)


class SparseLattice:
    """Spread to the nodes, blur by (½, 1, ½) along each axis, read: a Gaussian of one standard deviation.

    Args:
        points: N×5, in standard deviations.
        vertices: `permutohedral_vertices` or `grid_vertices`.
    """

    def __init__(self, points: Tensor, vertices=permutohedral_vertices) -> None:
        places, self.weights, axes = vertices(points)
        shifts = PACKED_BITS * torch.arange(places.shape[2])
        keys = ((places + 2 ** (PACKED_BITS - 1)) << shifts).sum(2)
        nodes, self.index = torch.unique(keys, return_inverse=True)
        self.count = len(nodes)
        self.neighbours = []
        for axis in axes:
            pair = []
            for sign in (1, -1):
                wanted = nodes + (sign * (axis << shifts)).sum()
                found = torch.searchsorted(nodes, wanted).clamp_max_(self.count - 1)
                # The last row of the values stays zero: it stands for every node that is not there.
                pair.append(torch.where(nodes[found] == wanted, found, self.count))
            self.neighbours.append(pair)
        norm = self._filter(points.new_ones(len(points), 1))
        self.norm = (norm + 1e-20).rsqrt()

    def _filter(self, values: Tensor) -> Tensor:
        spread = (values[:, None] * self.weights[..., None]).flatten(0, 1)
        nodes = values.new_zeros(self.count + 1, values.shape[1]).index_add_(0, self.index.flatten(), spread)
        for left, right in self.neighbours:
            nodes[:-1] += 0.5 * (nodes[left] + nodes[right])
        return (nodes[self.index] * self.weights[..., None]).sum(1)

    def __call__(self, values: Tensor) -> Tensor:
        """N×C to N×C, normalised symmetrically."""
        return self.norm * self._filter(self.norm * values)


def lattice_crf(image: Tensor, probabilities: Tensor, vertices=permutohedral_vertices) -> Tensor:
    """The CRF of one image (3×H×W, L×H×W) with the paper's parameters and a lattice for the bilateral term."""
    labels, height, width = probabilities.shape
    y, x = torch.meshgrid(torch.arange(height) / 10, torch.arange(width) / 10, indexing="ij")
    points = torch.stack([x, y, *(image.float() / 20)]).flatten(1).T.contiguous()
    lattice = SparseLattice(points, vertices)
    smooth = [torch.exp((t[:, None] - t).square() / (-2 * 15**2)) for t in (torch.arange(height), torch.arange(width))]
    norm = (smooth[0].sum(1)[:, None] * smooth[1].sum(1)).rsqrt()
    unary = probabilities.clamp(1e-5, 1).log()
    q = unary.softmax(0)
    for _ in range(5):
        spatial = norm * (smooth[0] @ (norm * q) @ smooth[1])
        alike = lattice(q.flatten(1).T.contiguous()).T.view(labels, height, width)
        q = (unary + 30 * spatial + 50 * alike).softmax(0)
    return q


def exact_crf(image: Tensor, probabilities: Tensor) -> Tensor:
    """The CRF of one image by the N×N matrices themselves: 6 GB for 128×128 pixels."""
    labels, height, width = probabilities.shape
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    place = torch.stack([x, y], 2).view(-1, 2)
    kernel = torch.zeros(height * width, height * width)
    points = torch.cat([place / 10, image.float().flatten(1).T / 20], 1)
    for features, weight in ((place / 15, 30), (points, 50)):
        term = torch.cdist(features, features).square_().div_(-2).exp_()
        norm = term.sum(1).rsqrt()
        kernel += term.mul_(weight * norm[:, None]).mul_(norm)
    unary = probabilities.clamp(1e-5, 1).log().flatten(1).T
    q = unary.softmax(1)
    for _ in range(5):
        q = (unary + kernel @ q).softmax(1)
    return q.T.view(labels, height, width)
