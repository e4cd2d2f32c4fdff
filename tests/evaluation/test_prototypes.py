from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from histoproto.evaluation.prototypes import (
    PrototypeMeasures,
    location_labels,
    measure_prototypes,
    tissue_regions,
)

B, C, K, H, W = 5, 3, 4, 7, 8


def example(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(B, C, K, H, W, generator=generator)
    truth = torch.randint(0, C + 1, (B, H, W), generator=generator)
    truth[0] = 0
    truth[1][truth[1] == 2] = 0  # one tissue absent
    truth[2][truth[2] == 1] = 0
    truth[2, 0, :4] = 1  # four locations: too few
    return maps, tissue_regions(truth, C), truth


def test_against_slow_loops() -> None:
    maps, regions, truth = example()
    found = measure_prototypes(maps, regions, truth)
    for c in range(C):
        overlaps, coverages, strongest = [], [], np.zeros(K)
        for b in range(B):
            places = [(r, s) for r in range(H) for s in range(W) if regions[b, c, r, s]]
            if len(places) < 5:
                continue
            count = math.ceil(0.2 * len(places))
            top = [set(sorted(places, key=lambda p: -float(maps[b, c, k, *p]))[:count]) for k in range(K)]
            overlaps.append(np.mean([len(i & j) / len(i | j) for i, j in itertools.combinations(top, 2)]))
            coverages.append(len(set.union(*top)) / len(places))
            for p in places:
                strongest[int(maps[b, c, :, *p].argmax())] += 1
        assert found.patches[c] == len(overlaps)
        assert found.overlap[c] == pytest.approx(np.mean(overlaps), rel=1e-5)
        assert found.coverage[c] == pytest.approx(np.mean(coverages), rel=1e-5)
        share = strongest / strongest.sum()
        assert found.effective[c] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)
        for k in range(K):
            known = [
                (float(maps[b, c, k, r, s]), int(truth[b, r, s]))
                for b, r, s in itertools.product(range(B), range(H), range(W))
                if truth[b, r, s] < C
            ]
            best = sorted(known, reverse=True)[: round(0.05 * len(known))]
            assert found.purity[c, k] == pytest.approx(np.mean([label == c for _, label in best]))


def test_batches_add_up() -> None:
    maps, regions, truth = example()
    whole = measure_prototypes(maps, regions, truth)
    measures = PrototypeMeasures(C, K)
    for part in (slice(0, 2), slice(2, 5)):
        measures.update(maps[part], regions[part], truth[part])
    parts = measures.compute()
    for name in ("overlap", "coverage", "effective", "purity", "patches"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-6)


def test_prototypes_that_are_all_alike() -> None:
    regions = torch.ones(2, 1, 10, 10, dtype=torch.bool)
    one = torch.randn(2, 1, 1, 10, 10)
    found = measure_prototypes(one.expand(2, 1, K, 10, 10), regions)
    assert found.overlap[0] == pytest.approx(1)
    assert found.coverage[0] == pytest.approx(0.2)
    assert found.effective[0] == pytest.approx(1)
    assert np.isnan(found.purity).all()


def test_prototypes_that_share_a_region() -> None:
    maps = torch.zeros(1, 1, 5, 10, 10)
    for k in range(5):
        maps[0, 0, k, 2 * k : 2 * k + 2] = 1
    found = measure_prototypes(
        maps, torch.ones(1, 1, 10, 10, dtype=torch.bool), torch.zeros(1, 10, 10, dtype=torch.int)
    )
    assert found.mean_overlap == pytest.approx(0)
    assert found.mean_coverage == pytest.approx(1)
    assert found.mean_effective == pytest.approx(5)
    assert found.mean_purity == 1


def test_one_prototype_and_no_region() -> None:
    found = measure_prototypes(
        torch.randn(2, 2, 1, 6, 6), torch.tensor([True, False])[None, :, None, None].expand(2, 2, 6, 6)
    )
    assert np.isnan(found.overlap).all()
    assert found.coverage[0] == pytest.approx(math.ceil(0.2 * 36) / 36)
    assert found.effective[0] == pytest.approx(1)
    assert np.isnan([found.coverage[1], found.effective[1]]).all()
    assert found.patches.tolist() == [2, 0]


def test_labels_at_the_resolution_of_maps() -> None:
    labels = torch.zeros(1, 32, 32, dtype=torch.uint8)
    labels[:, :, 20:] = 2
    labels[:, 30:, :] = 1
    found = location_labels(labels, (2, 2), 2)
    assert found.tolist() == [[[0, 2], [0, 2]]]
    assert tissue_regions(found, 2).sum(dim=(2, 3)).tolist() == [[2, 0]]  # label 2 is background
