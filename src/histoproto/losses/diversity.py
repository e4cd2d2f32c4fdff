"""Diversity regulariser: prototypes of one tissue shall look at different places of its region.

The formula is ProtoSeg's (Sacha et al., WACV 2023), used by LPD (arXiv 2512.05922) on the projected prototypes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from histoproto.losses.pixel import pseudo_mask


def pseudo_regions(merged: Tensor, present: Tensor) -> Tensor:
    """Ω_c: locations whose strongest tissue, among those present in the patch, is c.

    Args:
        merged: class activation maps B×C×h×w.
        present: B×C, true where the tissue is in the patch.

    Returns:
        B×C×h×w bool; every location belongs to exactly one present tissue (to none if no tissue is present).
    """
    tissues = torch.arange(merged.shape[1], device=merged.device).view(1, -1, 1, 1)
    return pseudo_mask(merged, present)[:, None] == tissues


def diversity_loss(cosines: Tensor, regions: Tensor, temperature: float) -> Tensor:
    """L_div: mean over tissues with a region, and over pairs i < j, of exp(−J(v_i, v_j)).

    v_k is the softmax over the region of cosine / T, a distribution over locations, and J the Jeffreys divergence
    KL(u‖v) + KL(v‖u).

    Args:
        cosines: cos(F_4, g_4(P)), B×C×K×h×w.
        regions: Ω, B×C×h×w bool.
        temperature: T > 0; at T = 1 cosines are too flat for a useful gradient.

    Returns:
        A scalar in [0, 1]: 1 where all prototypes of a tissue look at the same places; 0 if K = 1 or no region.
    """
    prototypes = cosines.shape[2]
    if prototypes < 2:
        return cosines.sum() * 0.0
    similar = pairwise_similarity(cosines.float() / temperature, regions)
    first, second = torch.triu_indices(prototypes, prototypes, offset=1, device=cosines.device)
    pairs = similar[:, :, first, second].mean(dim=2)
    occupied = regions.flatten(2).any(dim=2)
    return (pairs * occupied).sum() / occupied.sum().clamp(min=1)


def pairwise_similarity(logits: Tensor, regions: Tensor) -> Tensor:
    """exp(−J) of all pairs of prototypes at once: B×C×K×K, symmetric, 1 on the diagonal.

    With log v = log-softmax(logits) on the region, KL(i‖j) = Σ_n v_i log v_i − Σ_n v_i log v_j, so one K×K matrix
    product G = v · log vᵀ per patch and tissue holds every divergence: J_ij = G_ii + G_jj − G_ij − G_ji. Memory grows
    with B·C·K², not with the number of location pairs.

    Args:
        logits: B×C×K×h×w, what the softmax is taken of.
        regions: B×C×h×w bool; an empty region gives 1 everywhere.
    """
    inside = regions.flatten(2)[:, :, None]
    # A finite fill keeps the softmax of an empty region, and every gradient, free of NaN.
    log_v = logits.flatten(3).masked_fill(~inside, -1e4).log_softmax(dim=3)
    v = log_v.exp() * inside
    log_v = log_v.masked_fill(~inside, 0.0)
    cross = v @ log_v.transpose(2, 3)
    own = cross.diagonal(dim1=2, dim2=3)
    jeffreys = own[..., :, None] + own[..., None, :] - cross - cross.transpose(2, 3)
    return (-jeffreys.clamp(min=0)).exp()


def published_diversity_loss(features: Tensor, prototypes: Tensor, regions: Tensor) -> Tensor:
    """What the published LPD code computes, for comparison only.

    It departs from the paper in three ways: the softmax is applied twice (the distributions are then almost uniform:
    the value is near 1 and the gradient near 0), tissue c gets the region of tissue c − 1 (background counts as 0 in
    its pseudo mask, tissues count from 0 in its loss), and features are compared with the raw prototypes.

    Args:
        features: F_4, B×D×h×w.
        prototypes: raw prototypes C×K×D, of the same D.
        regions: Ω, B×C×h×w bool.

    Returns:
        A scalar in [0, 1].
    """
    if prototypes.shape[1] < 2:
        return features.sum() * 0.0
    shifted = torch.cat([torch.zeros_like(regions[:, :1]), regions[:, :-1]], dim=1)
    unit_f = torch.nn.functional.normalize(features.float(), dim=1)
    unit_p = torch.nn.functional.normalize(prototypes.float(), dim=-1)
    cosines = torch.einsum("bdhw,ckd->bckhw", unit_f, unit_p)
    inside = shifted[:, :, None]
    once = cosines.masked_fill(~inside, -1e4).flatten(3).softmax(dim=3).view_as(cosines)
    return diversity_loss(once, shifted, temperature=1.0)
