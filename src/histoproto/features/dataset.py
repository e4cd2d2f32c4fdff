"""Patches as a frozen encoder sees them: a dataset of features that are kept on disk."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histoproto.data.augment import dihedral
from histoproto.data.dataset import PatchDataset, Sample, fit_label_map, fit_to_size
from histoproto.data.images import read_image
from histoproto.errors import DataError
from histoproto.features import views
from histoproto.features.filling import Pixels
from histoproto.features.shelf import Shelf

MOST_LABEL_MAPS = 4096
"""In memory, 64 MiB of them at 128 px: opening one in every step takes a fifth of a training on masks."""

FindGlass = Callable[[Pixels], NDArray[np.bool_]]
MOST_PATCHES = 500
"""Patches that statistics are made of; more would not change three digits."""


class FeatureDataset(PatchDataset):
    """The patches of a `PatchDataset`, with features of one of their views in place of the image.

    Args:
        plain: the patches; without its augmentation each is shown as it is.
        shelf: has, or will have, the features of all views.
        count: views of each patch.
        find_glass: what tells where a patch, S×S×3, shows glass, S×S, if that is to come with its features.

    Attributes:
        digests: of the pixels of each patch.
        glass: of each image, as bits; all views of a patch have the glass of its own colours.
        teacher: a shelf whose last map of each patch as it is comes with the sample, turned like the view.

    The view of a patch in an epoch is a function of (seed, epoch, index), as the augmentation of an image is.
    """

    def __init__(self, plain: PatchDataset, shelf: Shelf, count: int, find_glass: FindGlass | None = None):
        super().__init__(plain.patches, plain.size, plain.augmentation)
        self.read_label_map = plain.read_label_map
        self.shelf = shelf
        self.count = count if plain.augmentation else 1
        self.jitter = plain.augmentation.jitter if plain.augmentation else 0.0
        self.teacher: Shelf | None = None
        self._label_maps: dict[int, NDArray[np.uint8]] = {}
        self.glass: list[NDArray[np.uint8]] = []
        self.digests = [self._look_at(self.pixels(index), find_glass) for index in range(len(self.patches))]

    def _look_at(self, pixels: Pixels, find_glass: FindGlass | None) -> bytes:
        """The digest of one more image, whose glass is kept if it is asked for."""
        if find_glass is not None:
            self.glass.append(np.packbits(find_glass(pixels)))
        return views.digest(pixels)

    def pixels(self, index: int) -> Pixels:
        """A patch as it is, S×S×3."""
        return fit_to_size(read_image(self.patches[index].image), self.size)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        patch, image = self.patches[index], self.digests[index]
        if patch.labels is None:
            raise DataError(f"{patch.image} carries no image label; training needs one for every patch")
        view = 0
        if self.augmentation is not None:
            view = int(np.random.default_rng((self.augmentation.seed, epoch, index)).integers(self.count))
        code = views.turn(image, view)
        sample = Sample(
            features=self.shelf.read(views.key(image, view, self.jitter)),
            labels=torch.tensor(patch.labels, dtype=torch.float32),
        )
        if self.glass:
            sample["glass"] = dihedral(self.glass_of(index), code)
        if self.teacher is not None:
            sample["teacher"] = dihedral(self.teacher.read(image)[-1].float(), code)
        if self.read_label_map is not None:
            sample["mask"] = dihedral(torch.from_numpy(self._label_map(index).astype(np.int64)), code)
        return sample

    def _label_map(self, index: int) -> NDArray[np.uint8]:
        found = self._label_maps.get(index)
        if found is None:
            assert self.read_label_map is not None
            found = fit_label_map(self.read_label_map(self.patches[index]), self.size)
            if len(self._label_maps) < MOST_LABEL_MAPS:
                self._label_maps[index] = found
        return found

    def glass_of(self, index: int) -> Tensor:
        """Where an image shows glass, S×S bool."""
        bits = np.unpackbits(self.glass[index], count=self.size**2)
        return torch.from_numpy(bits.reshape(self.size, self.size).astype(np.bool_))

    def plain(self) -> FeatureDataset:
        """The same patches as they are."""
        twin = copy.copy(self)
        twin.augmentation, twin.count, twin.glass, twin.teacher, twin.read_label_map = None, 1, [], None, None
        return twin

    def statistics(self) -> tuple[list[Tensor], list[Tensor]]:
        """Mean and standard deviation of each channel, C_s per scale, over all views of patches evenly spaced."""
        maps = self.shelf.description.maps
        sums, squares = ([torch.zeros(c, dtype=torch.float64) for c, _, _ in maps] for _ in range(2))
        some = self.digests[:: -(-len(self.digests) // MOST_PATCHES)]
        for image in some:
            for view in range(self.count):
                for scale, found in enumerate(self.shelf.read(views.key(image, view, self.jitter))):
                    sums[scale] += found.double().mean(dim=(1, 2))
                    squares[scale] += found.double().square().mean(dim=(1, 2))
        total = len(some) * self.count
        means = [s / total for s in sums]
        deviations = [(q / total - m.square()).clamp(min=0).sqrt() for q, m in zip(squares, means, strict=True)]
        return [m.float() for m in means], [d.float() for d in deviations]
