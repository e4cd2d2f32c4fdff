"""What a run learns from: training patches and those held out, as datasets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histoproto.config import Settings
from histoproto.data.cut_record import recorded_mpp
from histoproto.data.dataset import Augmentation, PatchDataset
from histoproto.data.images import image_size
from histoproto.data.layouts import DataFolder, Patch, open_data
from histoproto.data.leaks import find_leaks, refuse_leaks
from histoproto.data.masks import read_mask
from histoproto.data.mosaic import MixedDataset, MosaicDataset
from histoproto.errors import DataError, SettingError
from histoproto.methods.registry import method_class
from histoproto.model.remainder import remainder_of, told_apart
from histoproto.tissue import TissueSet
from histoproto.training.holdout import hold_out
from histoproto.training.patch_size import choose_patch_size


@dataclass(frozen=True)
class Material:
    """The patches of a run, as datasets."""

    folder: DataFolder
    training: PatchDataset
    held_out: PatchDataset | None
    patch_size: int
    mpp: float | None
    notes: tuple[str, ...] = ()
    """What is odd about the patches and was gone on with, in words."""

    @property
    def patches(self) -> tuple[Patch, ...]:
        """All that the run knows of, for training and for choosing the checkpoint."""
        return (*self.training.patches, *(self.held_out.patches if self.held_out else ()))

    @property
    def frequency(self) -> Tensor:
        """C, part of the training patches that hold each tissue."""
        return _frequency(self.training.patches)


def _frequency(patches: Sequence[Patch]) -> Tensor:
    return torch.tensor([patch.labels for patch in patches], dtype=torch.float32).mean(dim=0)


def gather(data: Path, settings: Settings) -> Material:
    """The patches of a data folder that a run with these settings learns from.

    Raises:
        DataError: a training patch without a label, or without a mask where the method needs one; no common size; what
            is on two sides of a split; all patches have the same tissues.
        SettingError: settings that leave nothing to calibrate on.
    """
    folder = open_data(data)
    patches = folder.split("train")
    leaks = find_leaks(folder)
    refuse_leaks(leaks, data, settings.data.allow_leak, "--set data.allow_leak=true")
    unlabelled = [patch.image.name for patch in patches if patch.labels is None]
    if unlabelled:
        raise DataError(
            f"{len(unlabelled)} of {len(patches)} training patches carry no image label (the first is "
            f"{unlabelled[0]}); training needs one for each"
        )
    training: list[Patch] = list(patches)
    held: list[Patch] = []
    if settings.data.fraction < 1:
        order = np.random.default_rng(settings.seed).permutation(len(training))
        training = [training[index] for index in sorted(order[: math.ceil(settings.data.fraction * len(training))])]
    if settings.data.validation_fraction > 0:
        training, held = hold_out(training, settings.data.validation_fraction, settings.seed)
    size, notes = choose_patch_size(patches, settings.data.patch_size)
    augmentation = Augmentation(settings.data.stain_jitter, settings.seed)
    if settings.data.validate_with == "masks" and not held:
        raise SettingError(
            "data.validate_with=masks chooses the checkpoint, but thresholds still need held-out patches; "
            "set data.validation_fraction above 0"
        )
    return Material(
        folder,
        _with_extras(PatchDataset(training, size, augmentation), settings, folder.tissues),
        PatchDataset(held, size) if held else None,
        size,
        settings.data.mpp or recorded_mpp(data),
        (*leaks, *notes, *_on_remainder(training, settings, folder.tissues)),
    )


def _on_remainder(training: list[Patch], settings: Settings, tissues: TissueSet) -> list[str]:
    """What the method makes of tissues that are in every patch, in words.

    Raises:
        DataError: no tissue is in some patches and not in others.
    """
    if method_class(settings).architecture == "segmentation":
        return []
    frequency = _frequency(training)
    if not told_apart(frequency).any():
        shown = " and ".join(name for name, part in zip(tissues.names, frequency, strict=True) if part) or "none"
        raise DataError(
            f"all {len(training)} training patches have the same tissues ({shown}); a tissue is learnt from patches "
            "that have it and patches that do not, so label some of another kind"
        )
    always = [tissues.names[tissue] for tissue in remainder_of(frequency)]
    return [
        f"{name} is in every training patch, so labels do not say where: it is mapped wherever no other tissue is seen"
        for name in always
    ]


def _with_extras(plain: PatchDataset, settings: Settings, tissues: TissueSet) -> PatchDataset:
    """The training patches with whatever else the method learns from."""
    method = method_class(settings)
    if method.replaces(settings):
        return MixedDataset(plain, tissues.names)
    if "masks" in method.extras and not settings.training.second_stage:
        missing = [patch.image.name for patch in plain.patches if patch.mask is None]
        if missing:
            raise DataError(
                f"{settings.method} trains on pixel labels, but {len(missing)} of {len(plain.patches)} training "
                f"patches have no mask (the first is {missing[0]}); `histoproto data cut --train-masks` writes them"
            )
        plain.read_label_map = partial(_true_mask, tissues=tissues)
    return MosaicDataset(plain, tissues.names) if "mosaics" in method.extras else plain


def _true_mask(patch: Patch, tissues: TissueSet) -> NDArray[np.uint8]:
    assert patch.mask is not None
    return read_mask(patch.mask, tissues, image_size(patch.image))
