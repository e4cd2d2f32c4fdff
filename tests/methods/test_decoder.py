"""Prototypes and a decoder on one encoder."""

from __future__ import annotations

import torch

from histoproto.inference.fusion import fuse_scales
from histoproto.losses.pixel import pixel_loss
from histoproto.methods.registry import build_method
from tiny import settings_of


def test_decoder_learns_from_the_masks_of_the_prototypes() -> None:
    settings = settings_of("lpd+decoder", "loss.similarity=0", "loss.decoder=2")
    torch.manual_seed(0)
    method = build_method(settings, torch.tensor([0.5, 0.6])).eval()
    batch = {"image": 0.8 * torch.rand(3, 3, 32, 32), "labels": torch.tensor([[1.0, 1], [1, 0], [0, 1]])}
    warm, later = method.losses(batch, 0.0), method.losses(batch, 0.5)
    out = method.network(batch["image"])
    fused = fuse_scales(out.merged, (32, 32), settings.inference.fusion_weights, "raw")
    assert out.merged[0].shape[-1] == 4  # so that pixels are taken two by two of a cell of eight
    masks = torch.where(batch["labels"][:, 0, None, None] == 0, 1, 0).expand(3, 32, 32).clone()
    masks[0] = (fused[0, 1] > fused[0, 0]).long()
    maps = method.network.class_maps(batch["image"]).maps[0]
    pixels = pixel_loss(maps, masks, method.balance[0].sqrt())
    torch.testing.assert_close(later["decoder"] - warm["decoder"], pixels)
    rest = sum(value for name, value in later.items() if name == "classification")
    torch.testing.assert_close(later["total"], rest + 0.75 * later["diversity"] + 2 * later["decoder"])
    warm["total"].backward()  # several devices wait for the gradient of every parameter
    assert all(p.grad is not None for p in method.network.parameters() if p.requires_grad)
