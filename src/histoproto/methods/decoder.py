"""LPD whose masks teach a decoder while they are being learnt: part of a second stage's gain in one stage.

Masks of a class activation map are coarse and cover what distinguishes a tissue, not all of it. A second stage mends
that by training a segmentation network on them afterwards. Here the segmentation network is a decoder on LPD's own
encoder, taught in the same steps by the masks of the moment, gated by the image labels (as one-stage methods on natural
images do it: Araslanov and Roth, CVPR 2020; Ru et al., *AFA*, CVPR 2022). What the decoder asks of the encoder
makes the activation maps better, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from histoproto.data.dataset import Sample
from histoproto.inference.background import without_glass
from histoproto.inference.fusion import fuse_scales
from histoproto.losses.pixel import pixel_loss, pseudo_mask
from histoproto.methods.lpd import LPD
from histoproto.model.network import ClassMaps, DecodedPrototypeNetwork


class LPDWithDecoder(LPD):
    """L = LPD's + λ · (classification loss of the decoder + pixel loss after the warm-up), λ = `loss.decoder`."""

    architecture = "prototypes+decoder"
    sees_images = True
    network: DecodedPrototypeNetwork

    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """See `Method.losses`: those of LPD, decoder, total and, where there are mosaics, pixels."""
        image, settings, weights = batch["image"], self.settings.loss, self.settings.inference.fusion_weights
        patches = len(image) - _count_mosaics(batch)
        real = Sample(**{name: value[:patches] for name, value in batch.items()})  # type: ignore[typeddict-item, index]
        features = self.features(batch)
        out = self.network.activations(features)
        shown = out.first(patches)
        losses = self.losses_of(shown, real, progress)
        total = losses.pop("total")
        decoded: ClassMaps = self.network.decoder(features)
        own = self.classification(decoded.logits[:patches], real["labels"])
        with torch.no_grad():
            fused = fuse_scales(shown.merged, (image.shape[-2], image.shape[-1]), weights, "raw")
            masks = pseudo_mask(fused, real["labels"] * (progress >= settings.warmup))  # none during the warm-up
        if patches < len(image):
            known = batch["known"][patches:]
            losses["pixels"] = self.mosaic_loss([scale[patches:] for scale in out.merged], known, image[patches:])
            total = total + settings.mosaic * losses["pixels"]
            masks = torch.cat([masks, known])
        own = own + pixel_loss(decoded.maps[0], without_glass(masks, image), self.balance[0].sqrt())
        return {**losses, "decoder": own, "total": total + settings.decoder * own}


class LPDWithDecoderAndMosaics(LPDWithDecoder):
    """The same on batches of which a third are mosaics, whose pixels both the prototypes' maps and the decoder learn.

    Mosaics take the place of patches, so a step costs no more; the other losses see the patches alone.
    """

    replaced = 1 / 3


def _count_mosaics(batch: Sample) -> int:
    """Mosaics are at the end of a batch, and known."""
    return int((batch["known"].flatten(1).amax(dim=1) >= 0).sum()) if "known" in batch else 0
