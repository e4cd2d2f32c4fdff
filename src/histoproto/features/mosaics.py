"""Patches and mosaics of them as a frozen encoder sees them: with a fixed set of mosaics in place of new ones."""

from __future__ import annotations

import copy

import numpy as np
import torch

from histoproto.data.dataset import Sample
from histoproto.data.mosaic import MixedDataset
from histoproto.features.dataset import FeatureDataset, FindGlass
from histoproto.features.filling import Pixels
from histoproto.features.shelf import Shelf

MOST_MOSAICS = 1000
"""In memory; a run of 200 steps sees 2000 of them, with a batch of 32."""


class MixedFeatures(FeatureDataset):
    """Items 0 … N − 1 are the patches of a `MixedDataset`, N … 2N − 1 mosaics of a set (at most `MOST_MOSAICS`).

    The set is a function of the patches, not of the seed of a run, so that seeds share its features.

    Attributes:
        mosaics: images S×S×3 and label maps S×S of the set.
        mosaic_digests: of the pixels of each.
    """

    def __init__(self, mixed: MixedDataset, shelf: Shelf, count: int, find_glass: FindGlass | None = None):
        super().__init__(mixed, shelf, count, find_glass)
        drawing = copy.copy(mixed.mosaics)
        drawing.seed = 0
        self.mosaics: list[tuple[Pixels, Pixels]] = []
        for index in range(min(len(self.patches), MOST_MOSAICS)):
            image, known = drawing.draw(0, index)
            pixels = (image * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            self.mosaics.append((pixels, known.byte().numpy()))
        self.mosaic_digests = [self._look_at(pixels, find_glass) for pixels, _ in self.mosaics]

    def mosaic_pixels(self, index: int) -> Pixels:
        """A mosaic of the set, S×S×3."""
        return self.mosaics[index][0]

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if index < len(self.patches):
            sample = super().__getitem__(key)
            sample["known"] = torch.full((self.size, self.size), -1)
            return sample
        number = int(np.random.default_rng((epoch, index)).integers(len(self.mosaics)))
        known = self.mosaics[number][1]
        sample = Sample(
            features=self.shelf.read(self.mosaic_digests[number]),
            known=torch.from_numpy(known.astype(np.int64)),
            labels=torch.zeros(len(self.patches[0].labels or ())),
        )
        if self.glass:
            sample["glass"] = self.glass_of(len(self.patches) + number)
        if self.teacher is not None:
            sample["teacher"] = torch.zeros(self.teacher.description.maps[-1])
        return sample
