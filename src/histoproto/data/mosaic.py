"""Mosaics: single-tissue patches put together, so that every pixel's tissue is known without anybody drawing it.

The idea is that of PistoSeg (Fang et al., AAAI 2023) and HisynSeg (Fang et al., IEEE TMI 2024), who synthesise
patches with pixel labels from patches whose image label names a single tissue. Here the pieces have smooth random
borders, so that a network cannot learn a grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from histoproto.data.augment import dihedral, jitter_stain
from histoproto.data.dataset import PatchDataset, fit_to_size
from histoproto.data.images import read_image
from histoproto.data.pasting import random_regions, single_tissue_patches
from histoproto.data.sample import Sample
from histoproto.errors import DataError

PIECES = (2, 4)
"""Fewest and most pieces of a mosaic."""


class MosaicDataset(PatchDataset):
    """Patches, each with a mosaic of others beside it; as `PatchDataset`, a function of (seed, epoch, index).

    Raises:
        DataError: fewer than two tissues have a patch of their own.
    """

    def __init__(self, plain: PatchDataset, names: Sequence[str]):
        super().__init__(plain.patches, plain.size, plain.augmentation, plain.teacher_maps)
        self.read_label_map = plain.read_label_map
        self.pool = {tissue: pool for tissue, pool in single_tissue_patches(self.patches).items() if pool}
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
            patch = self.patches[self.pool[tissue][int(rng.integers(len(self.pool[tissue])))]]
            pixels = jitter_stain(fit_to_size(read_image(patch.image), self.size), jitter, rng)
            pieces.append(dihedral(torch.from_numpy(pixels).permute(2, 0, 1), int(rng.integers(8))))
            labels.append(tissue)
        regions = random_regions(count, self.size, rng)
        chosen = torch.stack(pieces).gather(0, regions[None, None].expand(1, 3, -1, -1))[0]
        sample["mosaic"] = chosen.float() / 255
        sample["mosaic_mask"] = torch.tensor(labels)[regions]
        return sample
