"""A frozen encoder: what a run learns from becomes features, computed as far as they are not on disk."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from histoproto.config import Settings
from histoproto.data.mosaic import MixedDataset
from histoproto.errors import SettingError
from histoproto.features.dataset import FeatureDataset
from histoproto.features.filling import Pixels, fill
from histoproto.features.mosaics import MixedFeatures
from histoproto.features.place import features_folder
from histoproto.features.shelf import Shelf, describe
from histoproto.inference.background import bright_pixels
from histoproto.methods.base import Method
from histoproto.methods.registry import method_class
from histoproto.model.encoder import Encoder
from histoproto.model.neck import Neck
from histoproto.printable import printable
from histoproto.training.material import Material


def require_freezable(settings: Settings) -> None:
    """Refuse what cannot learn from features.

    Raises:
        SettingError: the method or a loss needs new images in every step.
    """
    if settings.training.tuning == "full":
        return
    if settings.training.tuning == "head-first" and settings.training.second_stage:
        raise SettingError(
            "training.tuning=head-first tunes the encoder of a single stage; with a second one use "
            "--set training.tuning=full or frozen"
        )
    if not method_class(settings).from_features:
        raise SettingError(
            f"{settings.method} makes its losses of new images in every step, of which no features can be kept; use "
            "--set training.tuning=full"
        )
    if settings.loss.similarity > 0 and settings.loss.refiner == "image":
        raise SettingError(
            "loss.refiner=image masks images anew in every step, of which no features can be kept; use "
            "--set loss.refiner=feature, or --set training.tuning=full"
        )


def freeze(method: Method, material: Material, settings: Settings, device: torch.device) -> Material:
    """The same material as features; the encoder of the method is frozen and its neck standardises them.

    Raises:
        OutputError, DataError: see `fill`.
    """
    method.network.encoder.requires_grad_(False)
    training, model = settings.training, settings.model
    shelf = _shelf(method.network.encoder, model.encoder, material.patch_size, device)
    how = (shelf, training.views, find_glass if type(method).sees_glass else None)
    mixed = material.training
    learnt = MixedFeatures(mixed, *how) if isinstance(mixed, MixedDataset) else FeatureDataset(mixed, *how)
    held = FeatureDataset(material.held_out, shelf, 1) if material.held_out else None
    for part in (learnt, held) if held else (learnt,):
        fill(shelf, method.network.encoder, part.pixels, part.digests, part.count, part.jitter, _tell)
    if isinstance(learnt, MixedFeatures):
        fill(shelf, method.network.encoder, learnt.mosaic_pixels, learnt.mosaic_digests, tell=_tell)
    if method.cached_teacher is not None:
        encoder = method.cached_teacher.encoder
        learnt.teacher = _shelf(encoder, settings.loss.teacher.partition("@")[0], material.patch_size, device)
        fill(learnt.teacher, encoder, learnt.pixels, learnt.digests, tell=_tell)
    assert isinstance(method.network.neck, Neck)
    method.network.neck.standardise(*learnt.statistics())
    return replace(material, training=learnt, held_out=held)


def find_glass(pixels: Pixels) -> NDArray[np.bool_]:
    """`bright_pixels` of an image, S×S×3."""
    return bright_pixels(torch.from_numpy(pixels).permute(2, 0, 1) / 255).numpy()


def _shelf(encoder: Encoder, name: str, size: int, device: torch.device) -> Shelf:
    return Shelf(features_folder(), describe(encoder.to(device), name, size))


def _tell(line: str) -> None:
    print(printable(line), file=sys.stderr)
