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
from histoproto.losses.pixel import pixel_loss, pseudo_mask
from histoproto.methods.lpd import LPD
from histoproto.methods.mosaic import count_patches, first, glass_of
from histoproto.model.lattice import Lattice
from histoproto.model.network import ClassMaps, DecodedPrototypeNetwork


class LPDWithDecoder(LPD):
    """L = LPD's + λ · (classification loss of the decoder + pixel loss after the warm-up), λ = `loss.decoder`."""

    architecture = "prototypes+decoder"
    sees_glass = True
    network: DecodedPrototypeNetwork

    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """See `Method.losses`: those of LPD, decoder, total and, where there are mosaics, pixels."""
        settings, glass, patches = self.settings.loss, glass_of(batch), count_patches(batch)
        real = first(batch, patches)
        features = self.features(batch)
        out = self.network.activations(features)
        shown = out.first(patches)
        losses = self.losses_of(shown, real, progress)
        total = losses.pop("total")
        decoded: ClassMaps = self.network.decoder(features)
        own = self.classification(decoded.logits[:patches], real["labels"])
        lattice = Lattice.under(decoded.maps[0], (glass.shape[-2], glass.shape[-1]))
        with torch.no_grad():
            fused = self.fused(shown.merged, lattice)
            masks = pseudo_mask(fused, real["labels"] * (progress >= settings.warmup))  # none during the warm-up
        if patches < len(glass):
            known = batch["known"][patches:]
            losses["pixels"] = self.mosaic_loss([scale[patches:] for scale in out.merged], known, glass[patches:])
            total = total + settings.mosaic * losses["pixels"]
            masks = torch.cat([masks, lattice.pixels(known)])
        masks = masks.masked_fill(lattice.pixels(glass), -1)
        own = own + pixel_loss(lattice.maps(decoded.maps[0]), masks, self.balance[0].sqrt())
        return {**losses, "decoder": own, "total": total + settings.decoder * own}


class LPDWithDecoderAndMosaics(LPDWithDecoder):
    """The same on batches of which a third are mosaics, whose pixels both the prototypes' maps and the decoder learn.

    Mosaics take the place of patches, so a step costs no more; the other losses see the patches alone.
    """

    replaced = 1 / 3
