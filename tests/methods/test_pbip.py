"""PBIP: a bank of clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from histoproto.config import load_settings
from histoproto.data.dataset import PatchDataset
from histoproto.data.layouts import open_data
from histoproto.errors import DataError
from histoproto.methods.pbip import cosine_kmeans
from histoproto.methods.registry import build_method
from histoproto.model.saving import load_model
from histoproto.training.run import train
from tiny import settings_of


def test_pbip_bank_is_made_of_clusters_and_stays(data: Path, tmp_path: Path) -> None:
    run = train(data, tmp_path / "run", settings_of("pbip"))
    first, _ = load_model(run / "first-stage")
    settings = settings_of("pbip", "training.second_stage=false")
    method = build_method(settings, torch.tensor([0.5, 0.5]))
    folder = open_data(data)
    method.prepare(PatchDataset([patch for patch in folder.train if patch.group not in _held_out(run, data)], 32))
    torch.testing.assert_close(first.bank.prototypes, method.network.bank.prototypes)
    torch.testing.assert_close(first.bank.prototypes.norm(dim=-1), torch.ones(2, 3))


def _held_out(run: Path, data: Path) -> set[str]:
    from histoproto.training.holdout import hold_out

    _, held = hold_out(open_data(data).train, 0.25, load_settings(run / "config.yaml").seed)
    return {patch.group for patch in held}


def test_cosine_kmeans_finds_separate_directions() -> None:
    rng = np.random.default_rng(0)
    directions = np.eye(3, 8)
    vectors = np.repeat(directions, 20, axis=0) + 0.05 * rng.standard_normal((60, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    cosines = cosine_kmeans(vectors, 3, seed=0) @ directions.T
    assert sorted(cosines.argmax(axis=1)) == [0, 1, 2]
    assert (cosines.max(axis=1) > 0.99).all()
    few = cosine_kmeans(vectors[:2], 5, seed=0)
    assert few.shape == (5, 8)
    assert np.isfinite(few).all()


def test_pbip_needs_a_patch_of_each_tissue_alone(data: Path) -> None:
    method = build_method(settings_of("pbip", "training.second_stage=false"), torch.tensor([0.5, 0.5]))
    patches = [patch for patch in open_data(data).train if patch.labels != (0, 1)]
    with pytest.raises(DataError, match="number 2 of 2"):
        method.prepare(PatchDataset(patches, 32))
