"""The patches as PyTorch sees them: a dataset whose every draw is a function of (seed, epoch, index), and its sampler.

Randomness without hidden state makes resuming exact: nothing but the number of steps done has to be remembered, on
one process or on many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from histoproto.data.augment import dihedral, jitter_stain
from histoproto.data.images import read_image
from histoproto.data.layouts import Patch
from histoproto.errors import DataError


class Sample(TypedDict, total=False):
    """One patch, or a batch of them after collation."""

    image: Tensor
    """3×S×S RGB in [0, 1]."""
    labels: Tensor
    """C, float in {0, 1}."""
    teacher: Tensor
    """D×h×w dense features of the teacher, turned like the image; only where they were computed in advance."""


class PatchDataset(Dataset[Sample]):
    """Weakly labelled patches, augmented if `jitter` is not None.

    Args:
        patches: with labels.
        size: side in pixels; patches of another size are resized (area average).
        jitter: stain jitter (see `jitter_stain`), together with turns and flips; None: patches as they are.
        seed: of the augmentation.
        teacher_maps: path of an N×D×h×w float16 `.npy` with the teacher's features of the patches as they are.

    Index with (epoch, index), as `EpochSampler` does, or with a plain index (epoch 0).
    """

    def __init__(
        self,
        patches: Sequence[Patch],
        size: int,
        jitter: float | None = None,
        seed: int = 0,
        teacher_maps: Path | None = None,
    ):
        if not patches:
            raise DataError("there are no patches to load; check the folder with `histoproto data check`")
        self.patches = patches
        self.size = size
        self.jitter = jitter
        self.seed = seed
        self.teacher_maps = teacher_maps
        self._features: NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        patch = self.patches[index]
        if patch.labels is None:
            raise DataError(f"{patch.image} carries no image label; training needs one for every patch")
        pixels = fit_to_size(read_image(patch.image), self.size)
        code = 0
        if self.jitter is not None:
            rng = np.random.default_rng((self.seed, epoch, index))
            code = int(rng.integers(8))
            pixels = jitter_stain(pixels, self.jitter, rng)
        image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
        sample = Sample(image=dihedral(image, code), labels=torch.tensor(patch.labels, dtype=torch.float32))
        if self.teacher_maps is not None:
            if self._features is None:  # opened in the process that reads it
                self._features = np.load(self.teacher_maps, mmap_mode="r")
            features = torch.from_numpy(np.array(self._features[index], dtype=np.float32))
            sample["teacher"] = dihedral(features, code)
        return sample


def fit_to_size(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """H×W×3 RGB as size×size×3; an area average where it shrinks."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(
        Image.fromarray(image).resize(
            (size, size), Image.Resampling.BOX if min(image.shape[:2]) >= size else Image.Resampling.BICUBIC
        )
    )


class EpochSampler(Sampler[tuple[int, int]]):
    """Every patch once per epoch, in an order given by (seed, epoch), shared out among `world` processes.

    Args:
        length: number of patches, N.
        batch_size: patches per step, over all processes; a last incomplete batch is dropped (kept if it is the only
            one), so every process does the same number of steps.
        seed: of the order.
        rank, world: this process and the number of processes.

    Yields (epoch, index). `start` skips the first steps of the coming epoch, for resuming in the middle of one.
    """

    def __init__(self, length: int, batch_size: int, seed: int = 0, rank: int = 0, world: int = 1):
        self.length, self.seed, self.rank, self.world = length, seed, rank, world
        self.steps = max(1, length // batch_size)
        self.local_batch = min(batch_size, length) // world
        if self.local_batch == 0:
            raise DataError(f"a batch of {min(batch_size, length)} patches cannot be shared among {world} processes")
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch by the training loop."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.local_batch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        batch = self.local_batch * self.world
        epoch, start, self.start = self.epoch, self.start, 0
        for step in range(start, self.steps):
            mine = order[step * batch : (step + 1) * batch][self.rank :: self.world]
            yield from ((epoch, int(index)) for index in mine)
