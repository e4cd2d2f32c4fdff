"""Mosaics of single-tissue patches as pixel labels (the idea of PistoSeg, AAAI 2023, and HisynSeg, TMI 2024).

Alone they train a segmentation network; added to LPD, both kinds of evidence train one network in one stage.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
    """LPD, whose fused class activation maps must also be right at each pixel of a mosaic."""

    extras = frozenset({"mosaics"})
    from_features = False

    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """See `Method.losses`: those of LPD and pixels."""
        losses = super().losses(batch, progress)
        maps = self.network.class_maps(batch["mosaic"]).maps
        pixels = self.mosaic_loss(maps, batch["mosaic_mask"], bright_pixels(batch["mosaic"]))
        total = losses.pop("total") + self.settings.loss.mosaic * pixels
        return {**losses, "pixels": pixels, "total": total}
