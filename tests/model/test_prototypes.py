"""The prototype bank: cosines, merging, pooling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from histoproto.errors import SettingError
from histoproto.model.prototypes import PrototypeBank, cosine_maps, merge_prototypes, pool_maps


def test_cosine_maps_against_loop() -> None:
    features, prototypes = torch.randn(2, 5, 3, 4), torch.randn(3, 2, 5)
    maps = cosine_maps(features, prototypes)
    for b, c, k, y, x in torch.cartesian_prod(*(torch.arange(n) for n in maps.shape)).tolist():
        expected = F.cosine_similarity(features[b, :, y, x], prototypes[c, k], dim=0)
        torch.testing.assert_close(maps[b, c, k, y, x], expected)
    assert cosine_maps(torch.zeros(1, 5, 2, 2), prototypes).eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_cosines_of_zero_vectors_are_zero_and_their_gradients_bounded(dtype: torch.dtype) -> None:
    """As on empty glass, or where a projection is switched off by its ReLU."""
    features = torch.randn(2, 5, 3, 3).to(dtype)
    features[0] = 0
    prototypes = torch.randn(4, 2, 5).to(dtype)
    prototypes[1] = 0
    features.requires_grad_()
    prototypes.requires_grad_()
    cosines = cosine_maps(features, prototypes)
    assert (cosines[0] == 0).all()
    assert (cosines[:, 1] == 0).all()
    (1e-3 * cosines.float()).sum().backward()
    for grad in (features.grad, prototypes.grad):
        assert grad is not None
        assert grad.isfinite().all()


def test_merging_and_pooling() -> None:
    maps = torch.randn(2, 3, 4, 5, 5)
    for merge in ("mean", "softmax", "logsumexp"):
        torch.testing.assert_close(merge_prototypes(maps[:, :, :1], merge), maps[:, :, 0])
    assert (merge_prototypes(maps, "mean") <= merge_prototypes(maps, "logsumexp") + 1e-6).all()
    assert (merge_prototypes(maps, "logsumexp") <= merge_prototypes(maps, "softmax") + 1e-6).all()
    flat = torch.full((1, 2, 3, 3), 4.0)
    for pooling in ("mean", "logsumexp", "topk"):
        torch.testing.assert_close(pool_maps(flat, pooling), torch.full((1, 2), 4.0))


def test_prototypes_that_are_left_out_take_no_part() -> None:
    maps = torch.randn(2, 3, 4, 5, 5)
    active = torch.ones(3, 4, dtype=torch.bool)
    active[:, 1] = False
    for merge in ("mean", "softmax", "logsumexp"):
        expected = merge_prototypes(maps[:, :, [0, 2, 3]], merge)
        torch.testing.assert_close(merge_prototypes(maps, merge, active), expected)


def test_one_prototype_of_a_tissue_has_to_stay() -> None:
    bank = PrototypeBank(2, 2, 8, (4,))
    bank.leave_out([(0, 1)])
    assert bank.active is not None
    assert bank.active.tolist() == [[True, False], [True, True]]
    assert "active" not in bank.state_dict()
    bank.leave_out([])
    assert bank.active is None
    for wrong in ([(0, 0), (0, 1)], [(0, 2)], [(2, 0)]):
        with pytest.raises(SettingError):
            bank.leave_out(wrong)
