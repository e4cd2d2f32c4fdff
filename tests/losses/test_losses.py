"""Each loss against a slow loop written from its formula: value, gradient and limits."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from histoproto.losses import similarity
from histoproto.losses.classification import balancing_weights, classification_loss
from histoproto.losses.diversity import diversity_loss, pairwise_similarity, pseudo_regions, published_diversity_loss
from histoproto.losses.similarity import (
    Pairs,
    contrastive_loss,
    feature_embeddings,
    image_embeddings,
    images_at_once,
    normalise_maps,
    select_pairs,
)

B, C, K, D, S = 3, 4, 3, 6, 5


def gradient(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs))


def assert_same(fast: Tensor, slow: Tensor, *inputs: Tensor) -> None:
    torch.testing.assert_close(fast.double(), slow.double(), rtol=1e-5, atol=1e-7)
    for a, b in zip(gradient(fast, *inputs), gradient(slow, *inputs), strict=True):
        assert a.abs().sum() > 0
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# --- classification ---------------------------------------------------------------------------------------------------


def test_classification_against_loop(generator: torch.Generator) -> None:
    logits = [torch.randn(B, C, generator=generator, requires_grad=True) for _ in range(3)]
    labels = (torch.rand(B, C, generator=generator) < 0.5).float()
    slow = torch.zeros(())
    for z, weight in zip(logits, (0.1, 1.0, 2.0), strict=True):
        for b, c in itertools.product(range(B), range(C)):
            p = 1 / (1 + torch.exp(-z[b, c]))
            slow = slow - weight * torch.log(p if labels[b, c] else 1 - p) / (B * C)
    assert_same(classification_loss(logits, labels, (0.1, 1.0, 2.0)), slow, *logits)


def test_balanced_classification_ignores_how_common_a_tissue_is() -> None:
    """Nine patches with a tissue and one without it weigh the same."""
    labels = torch.tensor([[1.0]] * 9 + [[0.0]])
    weights = balancing_weights(labels.mean(dim=0))
    right, wrong = torch.full((9, 1), 2.0), torch.full((1, 1), 2.0)
    loss = classification_loss([torch.cat([right, wrong])], labels, (1.0,), weights)
    expected = (F.softplus(torch.tensor(-2.0)) + F.softplus(torch.tensor(2.0))) / 2
    torch.testing.assert_close(loss, expected)
    assert balancing_weights(torch.tensor([0.0, 1.0])).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", ["plain", "extreme", "no tissue", "zeros", "one tissue"])
def test_classification_is_never_nan(dtype: torch.dtype, case: str) -> None:
    tissues = 1 if case == "one tissue" else C
    z = (torch.randn(B, tissues) * (1e4 if case == "extreme" else 1 if case != "zeros" else 0)).to(dtype)
    labels = torch.zeros(B, tissues) if case == "no tissue" else (torch.rand(B, tissues) < 0.5).float()
    z.requires_grad_()
    loss = classification_loss([z, z, z], labels, (0.1, 1.0, 1.0), balancing_weights(labels.mean(dim=0)))
    assert loss >= 0
    assert loss.isfinite()
    assert gradient(loss, z)[0].isfinite().all()


# --- diversity --------------------------------------------------------------------------------------------------------


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


# --- similarity -------------------------------------------------------------------------------------------------------


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
