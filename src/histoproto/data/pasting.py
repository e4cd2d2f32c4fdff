"""Pasting: a piece of a single-tissue patch put into another patch, so that part of its pixels are known.

Whole mosaics of such patches (`histoproto.data.mosaic`) are images of their own, and a network must pass over them in
addition to the patches. A piece within a patch costs nothing: the rest of the patch is learnt from its image label as
before. Cutting and pasting as an augmentation is CutMix (Yun et al., ICCV 2019); here the tissue of the piece is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from histoproto.data.layouts import Patch
from histoproto.data.sample import Sample

SHARE = 3
"""A piece is one of this many regions of a patch, so that the tissues around it are seldom hidden altogether."""
SMALLEST = 0.05
"""Part of the patch below which a piece is not pasted: a tissue so small does not count as present."""
COARSEST, FINEST = 2, 5
"""Cells per side of the noise that draws borders: from few large regions to many small ones."""


def single_tissue_patches(patches: Sequence[Patch]) -> dict[int, list[int]]:
    """The indices of the patches whose image label names one tissue only, by that tissue; every tissue has an entry."""
    pool: dict[int, list[int]] = {tissue: [] for tissue in range(len(patches[0].labels or ()))}
    for index, patch in enumerate(patches):
        if patch.labels is not None and sum(patch.labels) == 1:
            pool[patch.labels.index(1)].append(index)
    return pool


def random_regions(count: int, size: int, rng: np.random.Generator) -> Tensor:
    """Which of `count` fields of smooth noise is highest where: size×size, 0 … count − 1, with smooth borders."""
    cells = int(rng.integers(COARSEST, FINEST + 1))
    noise = torch.from_numpy(rng.standard_normal((1, count, cells + 1, cells + 1), dtype=np.float32))
    fields = F.interpolate(noise, size, mode="bicubic", align_corners=False)[0]
    return torch.from_numpy(fields.numpy().argmax(axis=0))  # four times as quick as that of torch


def paste(patch: Sample, other: Sample, region: Tensor) -> Sample:
    """The patch with a region of another one, which shows a single tissue.

    Args:
        patch: image, labels and, where there are any, teacher features and mask.
        other: the same of the single-tissue patch.
        region: S×S bool, where the other patch shows.

    Returns:
        The same entries and `pasted`. Image labels are those of both, teacher features are mixed by area.
    """
    tissue = int(other["labels"].argmax())
    mixed = Sample(
        image=torch.where(region, other["image"], patch["image"]),
        labels=torch.maximum(patch["labels"], other["labels"]),
        pasted=torch.where(region, tissue, -1),
    )
    if "teacher" in patch:
        height, width = patch["teacher"].shape[-2:]
        share = F.adaptive_avg_pool2d(region[None].float(), (height, width))
        mixed["teacher"] = share * other["teacher"] + (1 - share) * patch["teacher"]
    if "mask" in patch:
        mixed["mask"] = torch.where(region, other["mask"], patch["mask"])
    return mixed
