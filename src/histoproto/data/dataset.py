"""The patches as PyTorch sees them: a dataset whose every draw is a function of (seed, epoch, index), and its sampler.

Randomness without hidden state makes resuming exact: nothing but the number of steps done has to be remembered, on
one process or on many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

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
    mask: Tensor
    """S×S label map, turned like the image (C: to be ignored); only in methods that train on pixel labels."""
    mosaic: Tensor
    """3×S×S RGB in [0, 1], put together from several patches; see `histoproto.data.mosaic`."""
    mosaic_mask: Tensor
    """S×S label map of the mosaic."""
    features: Sequence[Tensor]
    """C_s×H_s×W_s of an encoder that is frozen, for scales 2, 3, 4; in place of `image`."""
    glass: Tensor
    """S×S bool, where the image that was made features of shows glass; only where that is asked for."""
    known: Tensor
    """S×S label map of an image that is itself a mosaic, −1 throughout one that is a patch."""


@dataclass(frozen=True)
class Augmentation:
    """Turns and flips, and stain jitter; see `histoproto.data.augment`."""

    jitter: float = 0.0
    seed: int = 0


class PatchDataset(Dataset[Sample]):
    """Weakly labelled patches.

    Args:
        patches: with labels.
        size: side in pixels; patches of another size are resized (`fit_to_size`).
        augmentation: None: patches as they are.
        teacher_maps: path of an N×D×h×w float16 `.npy` with the teacher's features of the patches as they are.

    Attributes:
        read_label_map: patch → its H×W label map, set for methods that train on pixel labels.

    Index with (epoch, index), as `StepSampler` does, or with a plain index (epoch 0).
    """

    def __init__(
        self,
        patches: Sequence[Patch],
        size: int,
        augmentation: Augmentation | None = None,
        teacher_maps: Path | None = None,
    ):
        if not patches:
            raise DataError("there are no patches to load; check the folder with `histoproto data check`")
        self.patches = patches
        self.size = size
        self.augmentation = augmentation
        self.teacher_maps = teacher_maps
        self.read_label_map: Callable[[Patch], NDArray[np.uint8]] | None = None
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
        if self.augmentation is not None:
            rng = np.random.default_rng((self.augmentation.seed, epoch, index))
            code = int(rng.integers(8))
            pixels = jitter_stain(pixels, self.augmentation.jitter, rng)
        image = torch.tensor(pixels).permute(2, 0, 1).float() / 255
        sample = Sample(image=dihedral(image, code), labels=torch.tensor(patch.labels, dtype=torch.float32))
        if self.teacher_maps is not None:
            features = torch.from_numpy(np.array(self.teacher_features()[index], dtype=np.float32))
            sample["teacher"] = dihedral(features, code)
        if self.read_label_map is not None:
            labels = fit_label_map(self.read_label_map(patch), self.size)
            sample["mask"] = dihedral(torch.from_numpy(labels.astype(np.int64)), code)
        return sample

    def plain(self) -> PatchDataset:
        """The same patches as they are."""
        return PatchDataset(self.patches, self.size)

    def teacher_features(self) -> NDArray[np.float16]:
        """Those of all patches as they are, N×D×h×w, on disk."""
        assert self.teacher_maps is not None
        if self._features is None:  # opened in the process that reads it
            self._features = np.load(self.teacher_maps, mmap_mode="r")
        return self._features


def fit_to_size(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """H×W×3 RGB as size×size×3; an area average where it shrinks. What is not square is mirrored to be so first."""
    if image.shape[:2] == (size, size):
        return image
    square = mirror_to_square(image)
    return np.asarray(
        Image.fromarray(square).resize(
            (size, size), Image.Resampling.BOX if len(square) >= size else Image.Resampling.BICUBIC
        )
    )


def fit_label_map(labels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A label map, H×W, of the patch that `fit_to_size` made size×size."""
    square = Image.fromarray(mirror_to_square(labels))
    return np.asarray(square.resize((size, size), Image.Resampling.NEAREST))


def mirror_to_square(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W(×3) as S×S(×3), S the longer side: nothing is squashed or cut off, so that its label stays true.

    >>> mirror_to_square(np.array([[1, 2, 3]], dtype=np.uint8)).tolist()
    [[1, 2, 3], [1, 2, 3], [1, 2, 3]]
    """
    height, width = image.shape[:2]
    if height == width:
        return image
    missing = (max(height, width) - height, max(height, width) - width)
    edges = [(count // 2, count - count // 2) for count in missing] + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, edges, mode="symmetric")


class StepSampler(Sampler[tuple[int, int]]):
    """Every patch once per epoch, for all epochs in one row; the order of an epoch is given by (seed, epoch).

    Args:
        length: number of patches, N.
        batch_size: patches per step, over all processes; a last incomplete batch is dropped (kept if it is the only
            one), so every process does the same number of steps.
        epochs: number of epochs.
        seed: of the order.
        rank, world: this process and the number of processes; they share each batch.
        mosaics: part of each batch, its end, that mosaics replace (see `MixedDataset`).

    Yields (epoch, index), beginning at step `start`, which is how a run is resumed.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        epochs: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        mosaics: float = 0.0,
    ):
        self.length, self.epochs, self.seed, self.rank, self.world = length, epochs, seed, rank, world
        self.steps_per_epoch = max(1, length // batch_size)
        self.local_batch = min(batch_size, length) // world
        if self.local_batch == 0:
            raise DataError(f"a batch of {min(batch_size, length)} patches cannot be shared among {world} processes")
        self.patches = self.local_batch - round(mosaics * self.local_batch)
        self.start = 0

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self.steps_per_epoch

    def __len__(self) -> int:
        return self.steps * self.local_batch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        batch = self.local_batch * self.world
        first, skip = divmod(self.start, self.steps_per_epoch)
        for epoch in range(first, self.epochs):
            order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
            for step in range(skip, self.steps_per_epoch):
                mine = order[step * batch : (step + 1) * batch][self.rank :: self.world]
                yield from ((epoch, int(index)) for index in mine[: self.patches])
                yield from ((epoch, self.length + int(index)) for index in mine[self.patches :])
            skip = 0


class ResumableLoader(DataLoader[Sample]):
    """A loader over a `StepSampler` that starts where a checkpoint was written.

    Args:
        position: tells the number of steps done; asked when a checkpoint is written.
    """

    def __init__(self, dataset: PatchDataset, sampler: StepSampler, position: Callable[[], int], workers: int):
        super().__init__(
            dataset,
            batch_size=sampler.local_batch,
            sampler=sampler,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
        )
        self.steps = sampler
        self.position = position

    def state_dict(self) -> dict[str, int]:
        """Asked for by Lightning for a checkpoint."""
        return {"start": self.position()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Handed back by Lightning before the first batch of a resumed run."""
        self.steps.start = state["start"]
