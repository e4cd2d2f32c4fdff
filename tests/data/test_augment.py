"""Augmentations: geometry, stain, and that they are functions of (seed, epoch, index)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from histoproto.data.augment import dihedral, jitter_stain
from histoproto.data.dataset import Augmentation, PatchDataset
from histoproto.data.layouts import Patch


def density(image: np.ndarray) -> np.ndarray:
    return -np.log(image / 255)


def test_dihedral_gives_the_eight_symmetries() -> None:
    image = torch.arange(12.0).view(1, 3, 4)
    turned = {tuple(dihedral(image, code).flatten().tolist()) for code in range(8)}
    assert len(turned) == 8
    assert torch.equal(dihedral(image, 0), image)


def test_jitter_scales_density_and_keeps_white() -> None:
    image = np.random.default_rng(0).integers(40, 255, (20, 20, 3), dtype=np.uint8)
    factors = np.random.default_rng(5).uniform(0.7, 1.3, 3)
    jittered = jitter_stain(image, 0.3, np.random.default_rng(5))
    assert np.abs(jittered - 255 * np.exp(-density(image.astype(float)) * factors)).max() <= 0.51
    assert (jitter_stain(np.full((2, 2, 3), 255, np.uint8), 0.3, np.random.default_rng(5)) == 255).all()


def test_jitter_stays_within_its_range() -> None:
    image = np.full((4, 4, 3), 128, np.uint8)
    assert jitter_stain(image, 0, np.random.default_rng(0)) is image
    ratios = [
        density(jitter_stain(image, 0.2, np.random.default_rng(seed)).astype(float))[0, 0] / density(128)
        for seed in range(50)
    ]
    assert np.min(ratios) > 0.79
    assert np.max(ratios) < 1.21
    assert np.ptp(ratios, axis=0).min() > 0.2


@pytest.fixture
def patches(tmp_path: Path) -> list[Patch]:
    rng = np.random.default_rng(0)
    made = []
    for index in range(4):
        Image.fromarray(rng.integers(50, 200, (24, 24, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
        made.append(Patch(tmp_path / f"{index}.png", (1, index % 2), None, str(index)))
    return made


def test_a_draw_depends_on_seed_epoch_and_index_alone(patches: list[Patch]) -> None:
    augmentation = Augmentation(jitter=0.2, seed=3)
    first, second = PatchDataset(patches, 24, augmentation), PatchDataset(patches, 24, augmentation)
    second[0, 1], second[5, 2]  # other draws before do not matter
    assert torch.equal(first[1, 2]["image"], second[1, 2]["image"])
    assert not torch.equal(first[1, 2]["image"], first[2, 2]["image"])
    plain = PatchDataset(patches, 24)
    assert torch.equal(plain[0, 2]["image"], plain[9, 2]["image"])
    assert plain[2]["labels"].tolist() == [1, 0]
    assert PatchDataset(patches, 16)[0]["image"].shape == (3, 16, 16)


def test_teacher_maps_turn_with_the_image(patches: list[Patch], tmp_path: Path) -> None:
    """A map that is the image itself (as features of three dimensions) stays the image under turns and flips."""
    plain = PatchDataset(patches, 24)
    np.save(tmp_path / "maps.npy", np.stack([plain[i]["image"].numpy().astype(np.float16) for i in range(4)]))
    turned = PatchDataset(patches, 24, Augmentation(seed=1), tmp_path / "maps.npy")
    for epoch in range(6):
        sample = turned[epoch, 1]
        torch.testing.assert_close(sample["teacher"], sample["image"], atol=1e-3, rtol=0)
