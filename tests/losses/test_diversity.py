"""Diversity of prototypes, against a loop and at its limits."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from histoproto.losses.diversity import diversity_loss, pairwise_similarity, pseudo_regions, published_diversity_loss
from same import assert_same, gradient

B, C, K, D, S = 3, 4, 3, 6, 5


def slow_diversity(cosines: Tensor, regions: Tensor, temperature: float) -> Tensor:
    values = []
    for b, c in itertools.product(range(cosines.shape[0]), range(cosines.shape[1])):
        if not regions[b, c].any():
            continue
        v = [torch.softmax(cosines[b, c, k][regions[b, c]] / temperature, dim=0) for k in range(cosines.shape[2])]
        pairs = []
        for i, j in itertools.combinations(range(len(v)), 2):
            forth = sum(v[i][n] * torch.log(v[i][n] / v[j][n]) for n in range(len(v[i])))
            back = sum(v[j][n] * torch.log(v[j][n] / v[i][n]) for n in range(len(v[i])))
            pairs.append(torch.exp(-(forth + back)))
        values.append(torch.stack(pairs).mean())
    return torch.stack(values).mean()


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_diversity_against_loop(generator: torch.Generator, temperature: float) -> None:
    cosines = (torch.rand(B, C, K, S, S, generator=generator) * 2 - 1).requires_grad_()
    regions = torch.rand(B, C, S, S, generator=generator) < 0.4
    regions[0, 1] = False
    regions[2] = False
    fast = diversity_loss(cosines, regions, temperature)
    assert_same(fast, slow_diversity(cosines, regions, temperature), cosines)


def test_diversity_temperature_gives_the_gradient() -> None:
    """The reason for T (docs/method.md): at T = 1 random maps are as good as alike."""
    generator = torch.Generator().manual_seed(0)
    features, prototypes = torch.randn(10, 512, 196, generator=generator), torch.randn(4, 10, 512, generator=generator)
    cosines = torch.einsum("bdn,ckd->bckn", F.normalize(features, dim=1), F.normalize(prototypes, dim=-1))
    cosines = cosines.view(10, 4, 10, 14, 14).requires_grad_()
    regions = torch.ones(10, 4, 14, 14, dtype=torch.bool)
    flat, steep = diversity_loss(cosines, regions, 1.0), diversity_loss(cosines, regions, 0.1)
    assert flat > 0.99
    assert 0.5 < steep < 0.8
    assert gradient(steep, cosines)[0].norm() > 20 * gradient(flat, cosines)[0].norm()


def test_diversity_limits() -> None:
    same = torch.randn(1, 1, 1, S, S).expand(1, 1, K, S, S)
    everywhere = torch.ones(1, 1, S, S, dtype=torch.bool)
    assert diversity_loss(same, everywhere, 0.1).item() == pytest.approx(1.0)
    assert diversity_loss(torch.randn(B, C, 1, S, S), torch.ones(B, C, S, S, dtype=torch.bool), 0.1) == 0
    assert diversity_loss(torch.randn(B, C, K, S, S), torch.zeros(B, C, S, S, dtype=torch.bool), 0.1) == 0
    apart = torch.full((1, 1, 2, 1, 2), -1.0)
    apart[0, 0, 0, 0, 0] = apart[0, 0, 1, 0, 1] = 1.0
    assert diversity_loss(apart, torch.ones(1, 1, 1, 2, dtype=torch.bool), 0.1) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", ["plain", "one location", "no tissue", "zeros"])
def test_diversity_is_never_nan(dtype: torch.dtype, case: str) -> None:
    cosines = torch.randn(B, C, K, S, S).clamp(-1, 1).to(dtype)
    regions = torch.ones(B, C, S, S, dtype=torch.bool)
    if case == "one location":
        regions = torch.zeros_like(regions)
        regions[:, :, 2, 2] = True
    if case == "no tissue":
        regions[:] = False
    if case == "zeros":
        cosines = torch.zeros_like(cosines)
    cosines.requires_grad_()
    loss = diversity_loss(cosines, regions, 0.05)
    assert 0 <= loss <= 1
    assert gradient(loss, cosines)[0].isfinite().all()


def test_pairwise_similarity_is_symmetric_with_unit_diagonal() -> None:
    similar = pairwise_similarity(torch.randn(B, C, K, S, S), torch.rand(B, C, S, S) < 0.5)
    torch.testing.assert_close(similar, similar.transpose(2, 3))
    torch.testing.assert_close(similar.diagonal(dim1=2, dim2=3), torch.ones(B, C, K))


def test_pseudo_regions_are_the_argmax_among_present_tissues() -> None:
    merged, present = torch.randn(B, C, S, S), torch.rand(B, C) < 0.6
    present[0] = False
    regions = pseudo_regions(merged, present)
    for b, y, x in itertools.product(range(B), range(S), range(S)):
        allowed = [c for c in range(C) if present[b, c]]
        best = max(allowed, key=lambda c: merged[b, c, y, x].item()) if allowed else None
        assert [c for c in range(C) if regions[b, c, y, x]] == ([] if best is None else [best])


def test_published_diversity_regularises_nothing() -> None:
    """Softmax twice: the value is almost 1 and the gradient almost 0 where the paper's formula has both."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 64, 14, 14, generator=generator, requires_grad=True)
    prototypes = torch.randn(3, 5, 64, generator=generator)
    regions = pseudo_regions(torch.randn(2, 3, 14, 14, generator=generator), torch.ones(2, 3))
    loss = published_diversity_loss(features, prototypes, regions)
    assert loss > 0.999
    assert gradient(loss, features)[0].abs().max() < 1e-5
    last_only = torch.zeros_like(regions)
    last_only[:, 2] = True  # the region of the last tissue is given to nobody
    assert published_diversity_loss(features, prototypes, last_only) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", ["plain", "one prototype", "one location", "no tissue", "zeros"])
def test_published_diversity_is_never_nan(dtype: torch.dtype, case: str) -> None:
    features = (torch.randn(B, D, S, S) * (case != "zeros")).to(dtype).requires_grad_()
    prototypes = (torch.randn(C, 1 if case == "one prototype" else K, D) * (case != "zeros")).to(dtype)
    regions, side = torch.zeros(B, C, S, S, dtype=torch.bool), 1 if case == "one location" else S
    regions[..., :side, :side] = case != "no tissue"
    loss = published_diversity_loss(features, prototypes, regions)
    assert 0 <= loss <= 1 + 1e-6
    assert gradient(loss, features)[0].isfinite().all()
