"""Mosaics of single-tissue patches, as methods use them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import default_collate

from histoproto.data.dataset import Augmentation, PatchDataset, ResumableLoader, StepSampler
from histoproto.data.layouts import open_data
from histoproto.data.mosaic import MixedDataset, MosaicDataset
from histoproto.errors import DataError
from histoproto.inference.fusion import fuse_scales
from histoproto.losses.pixel import pixel_loss
from histoproto.methods.lpd import LPD
from histoproto.methods.registry import build_method
from tiny import settings_of


def test_mosaic_pixels_are_those_of_their_tissue(data: Path) -> None:
    plain = PatchDataset(open_data(data).train, 32, Augmentation(0.1, seed=3))
    dataset = MosaicDataset(plain, ("red", "green"))
    for index in range(6):
        sample, again = dataset[(1, index)], dataset[(1, index)]
        assert torch.equal(sample["mosaic"], again["mosaic"])
        assert torch.equal(sample["image"], plain[(1, index)]["image"])
        assert set(sample["mosaic_mask"].unique().tolist()) <= {0, 1}
        # A red patch has its red channel at 60, a green one its green channel.
        found = (sample["mosaic"][1] < sample["mosaic"][0]).long()
        assert (found == sample["mosaic_mask"]).float().mean() > 0.98
    assert not torch.equal(dataset[(2, 0)]["mosaic"], dataset[(1, 0)]["mosaic"])


def test_mosaics_in_place_are_known_and_carry_no_label(data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "teacher.npy", np.ones((24, 5, 2, 2), dtype=np.float16))
    plain = PatchDataset(open_data(data).train, 32, Augmentation(0.1, seed=3), tmp_path / "teacher.npy")
    dataset = MixedDataset(plain, ("red", "green"))
    assert len(dataset) == 24
    sample, mosaic, again = dataset[(1, 5)], dataset[(1, 29)], dataset[(1, 29)]
    assert torch.equal(sample["image"], plain[(1, 5)]["image"])
    assert (sample["known"] == -1).all()
    assert torch.equal(mosaic["image"], again["image"])
    found = (mosaic["image"][1] < mosaic["image"][0]).long()
    assert (found == mosaic["known"]).float().mean() > 0.98
    assert mosaic["labels"].tolist() == [0, 0]
    assert mosaic["teacher"].shape == sample["teacher"].shape
    assert not mosaic["teacher"].any()
    batches = list(ResumableLoader(dataset, StepSampler(24, 6, epochs=1, mosaics=1 / 3), lambda: 0, 0))
    assert [(batch["known"].flatten(1).amax(dim=1) >= 0).tolist() for batch in batches] == [
        [False] * 4 + [True] * 2
    ] * 4


def test_tissues_of_mosaics_in_place_are_as_frequent_as_in_patches(data: Path) -> None:
    patches = open_data(data).train
    rare = [patch for patch in patches if patch.labels == (1, 0)] * 9 + [patch for patch in patches if patch.labels[1]]
    shown = np.array([patch.labels for patch in rare]).sum(axis=0)  # 80 red, 16 green
    dataset = MixedDataset(PatchDataset(rare, 32, Augmentation(0.0)), ("red", "green"))
    red = np.mean([float((dataset[(0, len(rare) + i)]["known"] == 0).float().mean()) for i in range(96)])
    # Two pieces are always of two tissues, the one or two more are drawn: (1 + n · 80 / 96) / (2 + n) on average.
    expected = np.mean([(1 + extra * shown[0] / shown.sum()) / (2 + extra) for extra in (0, 1, 2)])
    assert abs(red - expected) < 0.06


def test_mosaics_in_place_teach_pixels_alone(data: Path) -> None:
    """Of the losses of patches none sees a mosaic; those of pixels do, even before the warm-up is over."""
    torch.manual_seed(0)
    method = build_method(settings_of("lpd+decoder+mosaic", "loss.similarity=0"), torch.tensor([0.5, 0.5])).eval()
    dataset = MixedDataset(PatchDataset(open_data(data).train, 32, Augmentation(0.0)), ("red", "green"))
    mixed = default_collate([dataset[(0, index)] for index in (0, 1, 2, 24, 25)])
    patches = {name: value[:3] for name, value in mixed.items()}
    plain, both = method.losses(patches, progress=0.9), method.losses(mixed, progress=0.9)
    for name in ("classification", "diversity"):
        torch.testing.assert_close(plain[name], both[name])
    assert "pixels" not in plain
    assert float(both["pixels"].detach()) > 0
    early = method.losses(mixed, progress=0.0)
    torch.testing.assert_close(early["pixels"], both["pixels"])
    decoded = method.network.decoder(method.network.encoder(mixed["image"]))
    known = pixel_loss(decoded.maps[0], mixed["known"], method.balance[0].sqrt())
    torch.testing.assert_close(early["decoder"], method.classification(decoded.logits[:3], patches["labels"]) + known)


def test_lpd_learns_pixels_of_mosaics_in_place_and_beside(data: Path) -> None:
    torch.manual_seed(0)
    method = build_method(
        settings_of("lpd+mosaic", "loss.similarity=0", "loss.mosaic=2"), torch.tensor([0.5, 0.5])
    ).eval()
    dataset = MixedDataset(PatchDataset(open_data(data).train, 32, Augmentation(0.0)), ("red", "green"))
    mixed = default_collate([dataset[(0, index)] for index in (0, 1, 2, 24, 25)])
    found = method.losses(mixed, progress=0.9)
    patches = {name: value[:3] for name, value in mixed.items()}
    alone = LPD.losses(method, patches, progress=0.9)
    maps = method.network.class_maps(mixed["image"][3:]).maps
    fused = fuse_scales(maps, (32, 32), method.settings.inference.fusion_weights, "raw")
    assert maps[0].shape[-1] == 4  # so that of each cell of eight pixels every fourth is taken
    known = mixed["known"][3:].masked_fill(mixed["image"][3:].amin(dim=1) >= 205 / 255, -1)
    expected = F.cross_entropy(fused[..., 2::4, 2::4], known[..., 2::4, 2::4], ignore_index=-1)
    torch.testing.assert_close(found["pixels"], expected)
    torch.testing.assert_close(found["total"], alone["total"] + 2 * expected)
    beside = {**patches, "mosaic": mixed["image"][3:], "mosaic_mask": mixed["known"][3:]}
    torch.testing.assert_close(method.losses(beside, progress=0.9), found)


def test_mosaics_need_two_tissues_alone(data: Path) -> None:
    patches = [patch for patch in open_data(data).train if patch.labels != (0, 1)]
    with pytest.raises(DataError, match="those that do: red"):
        MosaicDataset(PatchDataset(patches, 32), ("red", "green"))
