"""How often patches are seen."""

from __future__ import annotations

import pytest

from histoproto.config import Settings, load_settings
from histoproto.training.epochs import count_epochs


@pytest.mark.parametrize(("patches", "epochs"), [(100_000, 6), (950, 6), (560, 10), (16, 350), (3, 350)])
def test_few_patches_are_seen_more_often(patches: int, epochs: int) -> None:
    assert count_epochs(Settings().training, patches) == epochs
    assert count_epochs(load_settings(overrides=["training.epochs=2"]).training, patches) == 2


def test_defaults_are_valid() -> None:
    assert Settings().loss.warmup < 1


def test_a_head_on_kept_features_takes_fewer_steps() -> None:
    frozen = load_settings(overrides=["training.tuning=frozen"])
    assert (frozen.training.batch_size, frozen.loss.similarity) == (32, 0)
    assert count_epochs(frozen.training, 945) * (945 // 32) == 203
