"""Mosaics: single-tissue patches put together, so that every pixel's tissue is known without anybody drawing it.

The idea is that of PistoSeg (Fang et al., AAAI 2023) and HisynSeg (Fang et al., IEEE TMI 2024), who synthesise
patches with pixel labels from patches whose image label names a single tissue. Here the pieces have smooth random
borders, so that a network cannot learn a grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from histoproto.data.augment import dihedral, jitter_stain
from histoproto.data.dataset import PatchDataset, Sample, fit_to_size
from histoproto.data.images import read_image
from histoproto.data.layouts import Patch
from histoproto.errors import DataError

PIECES = (2, 4)
"""Fewest and most pieces of a mosaic."""
COARSEST, FINEST = 2, 5
"""Cells per side of the noise that draws the borders: from two large pieces to many small ones."""


class MosaicDataset(PatchDataset):
    """Patches, each with a mosaic of others beside it; as `PatchDataset`, a function of (seed, epoch, index).

    Raises:
        DataError: fewer than two tissues have a patch of their own.
    """

    def __init__(self, plain: PatchDataset, names: Sequence[str]):
        super().__init__(plain.patches, plain.size, plain.augmentation, plain.teacher_maps)
        self.read_label_map = plain.read_label_map
        pool = single_tissue_patches(self.patches)
        self.pool = {tissue: patches for tissue, patches in pool.items() if patches}
        if len(self.pool) < 2:
            having = ", ".join(names[tissue] for tissue in self.pool) or "none"
            raise DataError(
                f"mosaics are made of patches with a single tissue, and at least two tissues must have some; those "
                f"that do: {having}"
            )

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        sample = super().__getitem__(key)
        epoch, index = key if isinstance(key, tuple) else (0, key)
        seed, jitter = (self.augmentation.seed, self.augmentation.jitter) if self.augmentation else (0, 0.0)
        rng = np.random.default_rng((seed, epoch, index, 1))  # the 1 sets it apart from that of the patch
        count = int(rng.integers(PIECES[0], PIECES[1] + 1))
        # All tissues equally often, and never only one in a mosaic of two pieces.
        tissues = rng.permutation(list(self.pool)).tolist() + rng.choice(list(self.pool), PIECES[1]).tolist()
        pieces, labels = [], []
        for tissue in tissues[:count]:
            patch = self.pool[tissue][int(rng.integers(len(self.pool[tissue])))]
            pixels = jitter_stain(fit_to_size(read_image(patch.image), self.size), jitter, rng)
            pieces.append(dihedral(torch.from_numpy(pixels).permute(2, 0, 1), int(rng.integers(8))))
            labels.append(tissue)
        regions = random_regions(count, self.size, rng)
        chosen = torch.stack(pieces).gather(0, regions[None, None].expand(1, 3, -1, -1))[0]
        sample["mosaic"] = chosen.float() / 255
        sample["mosaic_mask"] = torch.tensor(labels)[regions]
        return sample


def single_tissue_patches(patches: Sequence[Patch]) -> dict[int, list[Patch]]:
    """The patches whose image label names one tissue only, by that tissue; every tissue has an entry."""
    tissues = len(patches[0].labels or ())
    pool: dict[int, list[Patch]] = {tissue: [] for tissue in range(tissues)}
    for patch in patches:
        if patch.labels is not None and sum(patch.labels) == 1:
            pool[patch.labels.index(1)].append(patch)
    return pool


def random_regions(count: int, size: int, rng: np.random.Generator) -> Tensor:
    """Which of `count` fields of smooth noise is highest where: size×size, 0 … count − 1, with smooth borders."""
    cells = int(rng.integers(COARSEST, FINEST + 1))
    noise = torch.from_numpy(rng.standard_normal((1, count, cells + 1, cells + 1), dtype=np.float32))
    fields = F.interpolate(noise, size, mode="bicubic", align_corners=False)[0]
    return torch.from_numpy(fields.numpy().argmax(axis=0))  # four times as quick as that of torch
