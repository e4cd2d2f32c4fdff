"""The mask refiner, against a loop and at its limits."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from histoproto.losses import similarity
from histoproto.losses.similarity import (
    Pairs,
    contrastive_loss,
    feature_embeddings,
    image_embeddings,
    images_at_once,
    normalise_maps,
    select_pairs,
)
from same import assert_same

B, C, K, D, S = 3, 4, 3, 6, 5


def slow_pairs(maps: Tensor, present: Tensor) -> list[tuple[int, int, int]]:
    chosen = []
    for b, c in itertools.product(range(maps.shape[0]), range(maps.shape[1])):
        pooled = [maps[b, c, k].mean().item() for k in range(maps.shape[2])]
        if present[b, c]:
            chosen += [(b, c, k) for k, value in enumerate(pooled) if value >= sum(pooled) / len(pooled) - 1e-6]
    return chosen


def slow_weights(a: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    a = (a - a.min()) / (a.max() - a.min())
    inside = (a > alpha * a.max()).float()
    return a * inside, (1 - a) * (1 - inside)


def slow_contrast(fg: Tensor, bg: Tensor, pairs: list[tuple[int, int, int]], prototypes: Tensor, t: float) -> Tensor:
    total = torch.zeros(())
    for n, (_, c, k) in enumerate(pairs):
        near = [torch.exp(F.cosine_similarity(fg[n], p, dim=0) / t) for p in prototypes.flatten(0, 1)]
        far = [torch.exp(F.cosine_similarity(bg[n], p, dim=0) / t) for p in prototypes.flatten(0, 1)]
        own = c * prototypes.shape[1] + k
        total = total - torch.log(near[own] / sum(near))
        total = total - torch.log(sum(value for i, value in enumerate(far) if i != own) / sum(far))
    return total / len(pairs)


def test_feature_refiner_against_loop(generator: torch.Generator) -> None:
    maps = torch.randn(B, C, K, S, S, generator=generator, requires_grad=True)
    prototypes = torch.randn(C, K, D, generator=generator, requires_grad=True)
    teacher = torch.randn(B, D, 2 * S, 2 * S, generator=generator)
    present = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    pairs = select_pairs(maps, present)
    triples = list(zip(*(part.tolist() for part in pairs), strict=True))
    assert triples == slow_pairs(maps, present)
    fg, bg = [], []
    for b, c, k in triples:
        big = F.interpolate(maps[b, c, k][None, None], (2 * S, 2 * S), mode="bilinear")[0, 0]
        inside, outside = slow_weights(big, 0.5)
        fg.append(sum(inside[y, x] * teacher[b, :, y, x] for y in range(2 * S) for x in range(2 * S)) / inside.sum())
        bg.append(sum(outside[y, x] * teacher[b, :, y, x] for y in range(2 * S) for x in range(2 * S)) / outside.sum())
    slow = slow_contrast(torch.stack(fg), torch.stack(bg), triples, prototypes, 0.07)
    fast = contrastive_loss(*feature_embeddings(maps, pairs, teacher, 0.5), pairs, prototypes, 0.07)
    assert_same(fast, slow, maps, prototypes)


@pytest.mark.parametrize("chunk", [100, 4, None])
def test_image_refiner_against_loop(generator: torch.Generator, chunk: int | None) -> None:
    maps = torch.randn(B, C, K, S, S, generator=generator, requires_grad=True)
    prototypes = torch.randn(C, K, D, generator=generator, requires_grad=True)
    images = torch.rand(B, 3, 4 * S, 4 * S, generator=generator)
    mixing = torch.randn(D, 3, generator=generator)

    def teacher(x: Tensor) -> Tensor:
        return torch.tanh(torch.einsum("dc,bchw->bdhw", mixing, x)).mean(dim=(2, 3))

    present = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    pairs = select_pairs(maps, present)
    triples = list(zip(*(part.tolist() for part in pairs), strict=True))
    fg, bg = [], []
    for b, c, k in triples:
        big = F.interpolate(maps[b, c, k][None, None], (4 * S, 4 * S), mode="bilinear")[0, 0]
        inside, outside = slow_weights(big, 0.5)
        fg.append(teacher((inside * images[b])[None])[0])
        bg.append(teacher((outside * images[b])[None])[0])
    slow = slow_contrast(torch.stack(fg), torch.stack(bg), triples, prototypes, 0.07)
    fast = contrastive_loss(*image_embeddings(maps, pairs, images, teacher, 0.5, chunk), pairs, prototypes, 0.07)
    assert_same(fast, slow, maps, prototypes)


def test_refiner_pulls_the_foreground_to_its_prototype() -> None:
    prototypes = torch.eye(3)[:, None]
    pairs = Pairs(torch.tensor([0]), torch.tensor([1]), torch.tensor([0]))
    right = contrastive_loss(torch.tensor([[0.0, 1, 0]]), torch.tensor([[1.0, 0, 0]]), pairs, prototypes, 0.07)
    wrong = contrastive_loss(torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 1, 0]]), pairs, prototypes, 0.07)
    assert right < 1e-4
    assert wrong > 2 / 0.07 - math.log(2) - 0.1


def test_normalised_maps_lie_between_zero_and_one() -> None:
    maps = normalise_maps(torch.cat([100 * torch.randn(4, S, S), torch.full((1, S, S), 7.0)]))
    assert maps.amin() == 0
    assert maps[:4].amax(dim=(1, 2)).allclose(torch.ones(4))
    assert (maps[4] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", ["plain", "one prototype", "no tissue", "zeros", "one location"])
def test_refiner_is_never_nan(dtype: torch.dtype, case: str) -> None:
    k, size = (1, S) if case == "one prototype" else (K, 1 if case == "one location" else S)
    maps = (10 * torch.randn(B, C, k, size, size)).to(dtype)
    teacher, present = torch.randn(B, D, S, S).to(dtype), torch.ones(B, C)
    if case == "no tissue":
        present[:] = 0
    if case == "zeros":
        maps, teacher = torch.zeros_like(maps), torch.zeros_like(teacher)
    maps.requires_grad_()
    prototypes = torch.randn(C, k, D, requires_grad=True)
    pairs = select_pairs(maps, present)
    assert len(pairs.patch) == 0 if case == "no tissue" else len(pairs.patch) >= B * C
    loss = contrastive_loss(*feature_embeddings(maps, pairs, teacher, 0.5), pairs, prototypes, 0.07)
    assert loss.isfinite()
    for grad in torch.autograd.grad(loss, [maps, prototypes], allow_unused=True):
        assert grad is None or grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", ["plain", "one prototype", "no tissue", "zeros", "one location"])
def test_image_refiner_is_never_nan(dtype: torch.dtype, case: str) -> None:
    k, size = (1, S) if case == "one prototype" else (K, 1 if case == "one location" else S)
    maps = (10 * torch.randn(B, C, k, size, size)).to(dtype) * (case != "zeros")
    images = torch.rand(B, 3, 4 * S, 4 * S) * (case != "zeros")
    present = torch.full((B, C), float(case != "no tissue"))
    maps.requires_grad_()
    prototypes = torch.randn(C, k, 3, requires_grad=True)
    pairs = select_pairs(maps, present)
    embedded = image_embeddings(maps, pairs, images, lambda x: x.to(dtype).mean(dim=(2, 3)), 0.5, chunk=4)
    loss = contrastive_loss(*embedded, pairs, prototypes, 0.07)
    assert loss.isfinite()
    for grad in torch.autograd.grad(loss, [maps, prototypes], allow_unused=True):
        assert grad is None or grad.isfinite().all()


def test_images_at_once_is_what_fits_into_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tanh keeps its output for the backward pass, 4 bytes for each of 3·8·8 numbers, and nothing else."""
    monkeypatch.setattr(similarity, "_free_memory", lambda device: 10 * 2 * 4 * 3 * 8 * 8)
    assert images_at_once(torch.tanh, torch.rand(1, 3, 8, 8)) == 10
    assert images_at_once(torch.tanh, torch.rand(1, 3, 80, 80)) == 1
    monkeypatch.undo()
    assert similarity._free_memory(torch.device("cpu")) > 2**20
