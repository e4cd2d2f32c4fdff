"""The prototype bank and the activation maps it makes (LPD, arXiv 2512.05922, "prototype constructor")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from histoproto.errors import SettingError

Merge = Literal["mean", "softmax", "logsumexp"]
Pooling = Literal["mean", "logsumexp", "topk"]

LOGIT_SCALE_LIMIT = 100.0
LEAST_NORM = 1e-3
"""Shorter vectors count as this long; none of a trained network is."""


class PrototypeBank(nn.Module):
    """C×K learnable prototypes of length D, with one projection g_s and one logit scale tau_s per scale.

    g_s is Linear(D, D/2), ReLU, Linear(D/2, C_s). tau_s starts at 1/0.07 and is stored as its logarithm, so that it
    stays positive; it is limited to 100, as in CLIP. Prototypes start at unit norm: drawn from N(0, 1) in hundreds of
    dimensions they would have norm ~20, and AdamW, whose steps do not grow with them, would hardly turn them.
    """

    def __init__(self, tissues: int, prototypes: int, dimension: int, channels: tuple[int, ...]):
        super().__init__()
        self.prototypes = nn.Parameter(F.normalize(torch.randn(tissues, prototypes, dimension), dim=-1))
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(dimension, dimension // 2), nn.ReLU(), nn.Linear(dimension // 2, width))
            for width in channels
        )
        self.log_scales = nn.Parameter(torch.full((len(channels),), math.log(1 / 0.07)))
        self.active: Tensor | None
        self.register_buffer("active", None, persistent=False)

    def leave_out(self, prototypes: Sequence[tuple[int, int]]) -> None:
        """Let some, as tissue and number, take no part from now on; of each tissue, one has to stay.

        Raises:
            SettingError: there is no such prototype, or none of its tissue would stay.
        """
        active = torch.ones(self.prototypes.shape[:2], dtype=torch.bool, device=self.prototypes.device)
        for tissue, number in prototypes:
            if not (0 <= tissue < active.shape[0] and 0 <= number < active.shape[1]):
                raise SettingError(f"prototype {number} of tissue {tissue} cannot be left out: there is none")
            active[tissue, number] = False
        if not active.any(dim=1).all():
            raise SettingError("all prototypes of a tissue are left out; one has to stay")
        self.active = None if active.all() else active

    def project(self) -> list[Tensor]:
        """Prototypes in the feature space of each scale: a list of C×K×C_s."""
        return [projection(self.prototypes) for projection in self.projections]

    def scales(self) -> Tensor:
        """Logit scales tau_s, one per scale, in (0, 100]."""
        return self.log_scales.exp().clamp(max=LOGIT_SCALE_LIMIT)


def cosine_maps(features: Tensor, prototypes: Tensor) -> Tensor:
    """Cosine between every location and every prototype.

    Args:
        features: B×D×h×w.
        prototypes: C×K×D.

    Returns:
        B×C×K×h×w in [−1, 1]; 0 where a vector is zero.
    """
    # In single precision, as torch's own lower bound of 1e-12 is 0 in half; and with a higher bound, as the gradient at
    # a zero vector is its inverse and must not overflow.
    features = features.float()
    prototypes = F.normalize(prototypes.float(), dim=-1, eps=LEAST_NORM)
    # Divided after the product: there are fewer prototypes than dimensions.
    length: Tensor = torch.linalg.vector_norm(features, dim=1).clamp(min=LEAST_NORM)
    return torch.einsum("bdhw,ckd->bckhw", features, prototypes) / length[:, None, None]


def merge_prototypes(maps: Tensor, merge: Merge, active: Tensor | None = None) -> Tensor:
    """A tissue's K activation maps (B×C×K×h×w) as one class activation map (B×C×h×w).

    `mean` is the paper's in training, `softmax` (weights: softmax of the maps over K) its choice at inference;
    `logsumexp` is log of the mean of exp, another smooth maximum. All three are the identity for K = 1.

    Args:
        maps: of every prototype.
        merge: how.
        active: those that take part, C×K bool, one of each tissue at least; None: all.
    """
    if active is not None:
        return _merge_active(maps, merge, active[:, :, None, None])
    if merge == "mean":
        return maps.mean(dim=2)
    if merge == "softmax":
        return (maps.softmax(dim=2) * maps).sum(dim=2)
    return maps.logsumexp(dim=2) - math.log(maps.shape[2])


def _merge_active(maps: Tensor, merge: Merge, active: Tensor) -> Tensor:
    count = active.sum(dim=1)
    if merge == "mean":
        return (maps * active).sum(dim=2) / count
    strongest = maps.masked_fill(~active, -torch.inf)
    if merge == "softmax":
        return (strongest.softmax(dim=2) * maps).sum(dim=2)
    return strongest.logsumexp(dim=2) - count.log()


def pool_maps(maps: Tensor, pooling: Pooling) -> Tensor:
    """Class activation maps (B×C×h×w) → class logits (B×C).

    `mean` (the paper's) is the spatial mean; `topk` the mean of the strongest quarter; `logsumexp` the log of the mean
    of exp.
    """
    flat = maps.flatten(2)
    if pooling == "mean":
        return flat.mean(dim=2)
    if pooling == "topk":
        locations = flat.shape[2]
        # round(locations / 4) in whole numbers, which `histoproto export` can carry over for any size of image.
        quarter = max(1, (locations + 1 + locations // 4 % 2) // 4)
        return flat.topk(quarter, dim=2).values.mean(dim=2)
    return flat.logsumexp(dim=2) - math.log(flat.shape[2])
