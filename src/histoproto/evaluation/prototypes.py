"""What the prototypes of a tissue do: do they look at different places, and at their own tissue?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from histoproto.evaluation.confusion import mean_of_known

TOP_FRACTION = 0.2
PURITY_FRACTION = 0.05
LEAST_LOCATIONS = 5
"""Regions with fewer locations are left out: their top 20 % would be a single forced location."""


@dataclass(frozen=True)
class PrototypeScores:
    """Measures per tissue; NaN where nothing could be measured."""

    overlap: NDArray[np.float64]
    """C, in [0, 1]: IoU of the top-20 % locations of two prototypes inside their tissue's region, mean over pairs,
    then over patches. Chance is about 0.11. NaN with one prototype."""
    coverage: NDArray[np.float64]
    """C, in [0, 1]: part of the region that is among the top 20 % of at least one prototype, mean over patches. With
    K prototypes between 0.2 (all alike) and min(1, K · 0.2)."""
    effective: NDArray[np.float64]
    """C, in [1, K]: exp(entropy) of how often each prototype is the strongest in the region, over all patches."""
    purity: NDArray[np.float64]
    """C×K, in [0, 1]: of the 5 % locations of the data set where a prototype is strongest, the part whose true tissue
    is its own (true background left out). NaN without masks."""
    patches: NDArray[np.int64]
    """C: patches whose region was large enough to count."""

    @property
    def mean_overlap(self) -> float:
        """Over tissues."""
        return mean_of_known(self.overlap)

    @property
    def mean_coverage(self) -> float:
        """Over tissues."""
        return mean_of_known(self.coverage)

    @property
    def mean_effective(self) -> float:
        """Over tissues."""
        return mean_of_known(self.effective)

    @property
    def mean_purity(self) -> float:
        """Over all prototypes."""
        return mean_of_known(self.purity)


class PrototypeMeasures:
    """Collects batches and computes `PrototypeScores`.

    Memory: 4 bytes per location and prototype where truth is given (for purity), nothing that grows otherwise.

    Args:
        tissues: C.
        prototypes: K, per tissue.
    """

    def __init__(self, tissues: int, prototypes: int):
        self.overlap, self.coverage = (
            torch.zeros(tissues, dtype=torch.float64),
            torch.zeros(tissues, dtype=torch.float64),
        )
        self.patches = torch.zeros(tissues, dtype=torch.int64)
        self.wins = torch.zeros(tissues, prototypes, dtype=torch.int64)
        self.values: list[Tensor] = []
        self.truth: list[Tensor] = []

    def update(self, maps: Tensor, regions: Tensor, truth: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            maps: activation maps of the prototypes, B×C×K×h×w.
            regions: where each tissue is (from predicted or true masks, see `tissue_regions`), B×C×h×w bool.
            truth: true label of each location, B×h×w, C for background (see `location_labels`); None without masks.
        """
        maps, inside = maps.float().cpu().flatten(3), regions.cpu().flatten(2)
        counts = inside.sum(dim=2)
        used = counts >= LEAST_LOCATIONS
        top = top_locations(maps, inside, TOP_FRACTION)
        self.overlap += (_pairwise_iou(top) * used).sum(dim=0)
        self.coverage += (top.any(dim=2).sum(dim=2) / counts.clamp(min=1) * used).sum(dim=0)
        self.patches += used.sum(dim=0)
        strongest = F.one_hot(maps.argmax(dim=2), maps.shape[2])
        self.wins += (strongest * (inside & used[..., None])[..., None]).sum(dim=(0, 2))
        if truth is not None:
            known = truth.cpu().flatten() < maps.shape[1]
            self.truth.append(truth.cpu().flatten()[known])
            self.values.append(maps.permute(1, 2, 0, 3).flatten(2)[..., known])

    def compute(self) -> PrototypeScores:
        """The measures of everything added so far."""
        measured = torch.where(self.patches > 0, self.patches.double(), torch.nan)
        overlap, coverage = self.overlap / measured, self.coverage / measured
        if self.wins.shape[1] < 2:
            overlap = torch.full_like(overlap, torch.nan)
        shares = self.wins / self.wins.sum(dim=1, keepdim=True)
        effective = torch.special.entr(shares).sum(dim=1).exp()
        return PrototypeScores(
            overlap.numpy(), coverage.numpy(), effective.double().numpy(), self._purity().numpy(), self.patches.numpy()
        )

    def _purity(self) -> Tensor:
        tissues, prototypes = self.wins.shape
        count = sum(len(batch) for batch in self.truth)
        if not count:
            return torch.full((tissues, prototypes), torch.nan, dtype=torch.float64)
        top = torch.cat(self.values, dim=2).topk(max(1, round(PURITY_FRACTION * count)), dim=2).indices
        own = torch.cat(self.truth)[top] == torch.arange(tissues)[:, None, None]
        return own.double().mean(dim=2)


def measure_prototypes(maps: Tensor, regions: Tensor, truth: Tensor | None = None) -> PrototypeScores:
    """`PrototypeScores` of one batch; see `PrototypeMeasures.update` for the arguments."""
    measures = PrototypeMeasures(*maps.shape[1:3])
    measures.update(maps, regions, truth)
    return measures.compute()


def top_locations(maps: Tensor, inside: Tensor, fraction: float) -> Tensor:
    """The strongest ⌈fraction · n⌉ of a region's n locations, for each prototype.

    Args:
        maps: B×C×K×N.
        inside: the region, B×C×N bool.
        fraction: in (0, 1].

    Returns:
        B×C×K×N bool; of equal values the first are taken, so that the number is exact.
    """
    order = maps.masked_fill(~inside[:, :, None], -torch.inf).argsort(dim=3, descending=True, stable=True)
    taken = (fraction * inside.sum(dim=2) - 1e-4).ceil()[:, :, None, None]
    ranks = torch.arange(maps.shape[3]).expand_as(order)
    return torch.zeros_like(order, dtype=torch.bool).scatter(3, order, ranks < taken)


def _pairwise_iou(top: Tensor) -> Tensor:
    """Mean over pairs of prototypes of the IoU of their locations (B×C×K×N bool) → B×C; 0 with one prototype."""
    prototypes = top.shape[2]
    flat = top.float()
    both = flat @ flat.transpose(2, 3)
    sizes = both.diagonal(dim1=2, dim2=3)
    iou = both / (sizes[..., :, None] + sizes[..., None, :] - both).clamp(min=1)
    pairs = iou.triu(diagonal=1).sum(dim=(2, 3))
    return pairs / max(1, prototypes * (prototypes - 1) // 2)


def location_labels(labels: Tensor, size: tuple[int, int], tissues: int) -> Tensor:
    """Label maps (B×H×W) at the resolution of activation maps (B×h×w): the most frequent label of each cell."""
    shares = F.adaptive_avg_pool2d(F.one_hot(labels.long(), tissues + 1).permute(0, 3, 1, 2).float(), size)
    return shares.argmax(dim=1)


def tissue_regions(locations: Tensor, tissues: int) -> Tensor:
    """Labels of locations (B×h×w, background C) as one region per tissue, B×C×h×w bool."""
    return locations[:, None] == torch.arange(tissues, device=locations.device)[:, None, None]
