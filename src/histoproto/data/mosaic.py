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


class _Mosaics:
    """Draws mosaics of the patches with a single tissue.

    Args:
        plain: all patches.
        names: of the tissues.
        natural: take tissues as often as they are in patches, not all equally often.

    Raises:
        DataError: fewer than two tissues have a patch of their own.
    """

    def __init__(self, plain: PatchDataset, names: Sequence[str], natural: bool):
        self.size, self.jitter = plain.size, plain.augmentation.jitter if plain.augmentation else 0.0
        self.seed = plain.augmentation.seed if plain.augmentation else 0
        self.pool = {tissue: patches for tissue, patches in single_tissue_patches(plain.patches).items() if patches}
        if len(self.pool) < 2:
            having = ", ".join(names[tissue] for tissue in self.pool) or "none"
            raise DataError(
                f"mosaics are made of patches with a single tissue, and at least two tissues must have some; those "
                f"that do: {having}"
            )
        shown = np.array([patch.labels for patch in plain.patches], dtype=float).sum(axis=0)[list(self.pool)]
        self.frequency = shown / shown.sum() if natural else None

    def draw(self, epoch: int, index: int) -> tuple[Tensor, Tensor]:
        """A mosaic, 3×S×S in [0, 1], and its label map, S×S."""
        rng = np.random.default_rng((self.seed, epoch, index, 1))  # the 1 sets it apart from that of the patch
        count = int(rng.integers(PIECES[0], PIECES[1] + 1))
        pieces, tissues = [], self._tissues(rng)[:count]
        for tissue in tissues:
            patch = self.pool[tissue][int(rng.integers(len(self.pool[tissue])))]
            pixels = jitter_stain(fit_to_size(read_image(patch.image), self.size), self.jitter, rng)
            pieces.append(dihedral(torch.from_numpy(pixels).permute(2, 0, 1), int(rng.integers(8))))
        regions = random_regions(count, self.size, rng)
        chosen = torch.stack(pieces).gather(0, regions[None, None].expand(1, 3, -1, -1))[0]
        return chosen.float() / 255, torch.tensor(tissues)[regions]

    def _tissues(self, rng: np.random.Generator) -> list[int]:
        """Those of the pieces, as many as any mosaic may have; the first two differ."""
        names = list(self.pool)
        if self.frequency is None:
            first = rng.permutation(names)
        else:
            first = rng.choice(names, 2, replace=False, p=self.frequency)
        return [*first.tolist(), *rng.choice(names, PIECES[1], p=self.frequency).tolist()]


class MosaicDataset(PatchDataset):
    """Patches, each with a mosaic of others beside it; as `PatchDataset`, a function of (seed, epoch, index).

    Raises:
        DataError: fewer than two tissues have a patch of their own.
    """

    def __init__(self, plain: PatchDataset, names: Sequence[str]):
        super().__init__(plain.patches, plain.size, plain.augmentation, plain.teacher_maps)
        self.read_label_map = plain.read_label_map
        self.mosaics = _Mosaics(plain, names, natural=False)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        sample = super().__getitem__(key)
        sample["mosaic"], sample["mosaic_mask"] = self.mosaics.draw(*key if isinstance(key, tuple) else (0, key))
        return sample


class MixedDataset(PatchDataset):
    """Patches (items 0 … N − 1) and as many mosaics (N … 2N − 1), which `StepSampler` puts in place of some patches.

    Each sample has a `known` label map: that of a mosaic, −1 throughout a patch. Image labels and teacher features of a
    mosaic are 0. A rare tissue in every mosaic would come to be expected in every patch, hence their tissues are as
    frequent as those of patches.

    Raises:
        DataError: fewer than two tissues have a patch of their own.
    """

    def __init__(self, plain: PatchDataset, names: Sequence[str]):
        super().__init__(plain.patches, plain.size, plain.augmentation, plain.teacher_maps)
        self.mosaics = _Mosaics(plain, names, natural=True)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if index < len(self.patches):
            sample = super().__getitem__(key)
            sample["known"] = torch.full((self.size, self.size), -1)
            return sample
        image, known = self.mosaics.draw(epoch, index)
        sample = Sample(image=image, known=known, labels=torch.zeros(len(self.patches[0].labels or ())))
        if self.teacher_maps is not None:
            sample["teacher"] = torch.zeros(self.teacher_features().shape[1:])
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
