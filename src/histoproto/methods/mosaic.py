"""Mosaics of single-tissue patches as pixel labels (the idea of PistoSeg, AAAI 2023, and HisynSeg, TMI 2024).

Alone they train a segmentation network; added to LPD, both kinds of evidence train one network in one stage.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from histoproto.config import Settings
from histoproto.data.dataset import Sample
from histoproto.inference.background import bright_pixels
from histoproto.losses.pixel import pixel_loss
from histoproto.methods.lpd import LPD
from histoproto.methods.supervised import Supervised


class Mosaic(Supervised):
    """Pixel loss on mosaics; the classifier learns from real patches."""

    extras = frozenset({"mosaics"})
    from_features = False

    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """See `Method.losses`: pixels, classification and total."""
        count = len(batch["image"])
        out = self.network.class_maps(torch.cat([batch["image"], batch["mosaic"]]))
        known = batch["mosaic_mask"].masked_fill(bright_pixels(batch["mosaic"]), -1)
        pixels = pixel_loss(out.maps[0][count:], known)
        classes = self.classification(out.logits[:count], batch["labels"])
        return {
            "classification": classes,
            "pixels": pixels,
            "total": self.settings.loss.mosaic * pixels + classes,
        }


class LPDWithMosaics(LPD):
    """LPD, whose fused class activation maps must also be right at each pixel of a mosaic.

    New mosaics come beside the patches. Of a frozen encoder there are features of a fixed set alone, which take the
    place of a third of the patches, as in `LPDWithDecoderAndMosaics`.
    """

    extras = frozenset({"mosaics"})
    sees_glass = True

    @classmethod
    def replaces(cls, settings: Settings) -> float:
        """See `Method.replaces`."""
        return 1 / 3 if settings.training.tuning == "frozen" else 0.0

    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """See `Method.losses`: those of LPD and pixels."""
        if "mosaic" in batch:
            losses = super().losses(batch, progress)
            maps: Sequence[Tensor] = self.network.class_maps(batch["mosaic"]).maps
            known, glass = batch["mosaic_mask"], bright_pixels(batch["mosaic"])
        else:
            out, patches = self.network.activations(self.features(batch)), count_patches(batch)
            losses = self.losses_of(out.first(patches), first(batch, patches), progress)
            maps = [scale[patches:] for scale in out.merged]
            known, glass = batch["known"][patches:], glass_of(batch)[patches:]
        losses["pixels"] = self.mosaic_loss(maps, known, glass)
        return losses | {"total": losses["total"] + self.settings.loss.mosaic * losses["pixels"]}


def count_patches(batch: Sample) -> int:
    """How many images of a batch are patches: they come first, and mosaics, which are known, after them."""
    return int((batch["known"].flatten(1).amax(dim=1) < 0).sum()) if "known" in batch else len(batch["labels"])


def first(batch: Sample, count: int) -> Sample:
    """The first images of a batch."""
    parts = {name: value[:count] for name, value in batch.items() if name != "features"}  # type: ignore[index]
    return Sample(**parts)  # type: ignore[typeddict-item, no-any-return]


def glass_of(batch: Sample) -> Tensor:
    """Where the images of a batch show glass, B×S×S bool; see `Method.sees_glass`."""
    return batch["glass"] if "glass" in batch else bright_pixels(batch["image"])
