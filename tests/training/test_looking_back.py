"""What a run finds out about its own patches: temperature and strangeness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from histoproto.config import InferenceSettings
from histoproto.training.calibration import calibrate_temperature
from histoproto.training.familiar import LEAST_GROUPS, know_patches, limit_of
from histoproto.training.looking_back import Seen


def seen(maps: Tensor, labels: Tensor, learnt: int = 0, groups: tuple[str, ...] = ()) -> Seen:
    count = learnt + len(labels)
    everyone = torch.cat([torch.ones(learnt, labels.shape[1], dtype=torch.bool), labels])
    return Seen(
        torch.full((count, labels.shape[1]), 20.0),
        everyone,
        maps,
        torch.randn(count, 6, generator=torch.Generator().manual_seed(0)),
        torch.randn(count, 4, generator=torch.Generator().manual_seed(1)),
        torch.ones(count),
        groups or tuple(f"{index // 5}" for index in range(count)),
    )


@pytest.mark.parametrize("true", [1.0, 2.0, 4.0])
def test_temperature_is_found_where_pixels_were_drawn_with_it(true: float) -> None:
    """Patches of a single tissue: logits of which the chances are right at a known temperature."""
    rng = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(4000, 3, generator=rng)
    label = torch.multinomial((logits / true).softmax(dim=1), 1, generator=rng)[:, 0]
    labels = torch.nn.functional.one_hot(label, 3) > 0
    found = calibrate_temperature(seen(logits[:, :, None, None], labels), (0.5,) * 3, InferenceSettings())
    assert found is not None
    assert found.value == pytest.approx(true, rel=0.12)
    assert "4000 of them with a single tissue" in found.calibrated_on


def test_chances_are_never_made_sharper_and_nothing_is_fitted_on_nothing() -> None:
    maps = torch.tensor([[0.3, 0.0]]).repeat(50, 1)[:, :, None, None]
    right = torch.tensor([[True, False]]).repeat(50, 1)
    found = calibrate_temperature(seen(maps, right), (0.5, 0.5), InferenceSettings())
    assert found is not None
    assert found.value == 1
    assert calibrate_temperature(seen(maps[:0], right[:0], learnt=9), (0.5, 0.5), InferenceSettings()) is None


def test_limits_are_those_of_groups_left_out() -> None:
    """A new group differs more from the others than its own patches do among themselves."""
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(40), 25)
    values = torch.from_numpy(rng.normal(size=(40, 3))[groups] * 3 + rng.normal(size=(1000, 3)))
    everything = torch.ones(1000, dtype=torch.bool)
    limit = limit_of(values, torch.from_numpy(groups % 8), everything, everything, 0.95)
    others = torch.from_numpy(rng.normal(size=(500, 3)) * 3 + rng.normal(size=(500, 3)))
    from histoproto.inference.strangeness import fit_spread

    assert (fit_spread(values).distance(others) > limit).float().mean() < 0.12


def test_few_groups_know_nothing() -> None:
    none = torch.zeros(0, 2, 1, 1)
    few = tuple(f"{index % (LEAST_GROUPS - 1)}" for index in range(60))
    labels = torch.ones(0, 2, dtype=torch.bool)
    assert know_patches(seen(none, labels, 60, few)) is None
    found = know_patches(seen(none, labels, 60))
    assert found is not None
    assert "60 training patches of 12 groups" in found[1]
