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
from histoproto.model.network import Activations, ClassMaps, DecodedPrototypeNetwork


class LPDWithDecoder(LPD):
    """L = LPD's + λ · (classification loss of the decoder + pixel loss after the warm-up), λ = `loss.decoder`."""

    architecture = "prototypes+decoder"
    network: DecodedPrototypeNetwork

    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """See `Method.losses`: those of LPD, decoder and total."""
        image, labels, settings = batch["image"], batch["labels"], self.settings
        out: Activations = self.network(image)
        losses = self.losses_of(out, batch, progress)
        decoded: ClassMaps = self.network.decoder(out.features)
        own = self.classification(decoded.logits, labels)
        if progress >= settings.loss.warmup:
            size = (image.shape[-2], image.shape[-1])
            with torch.no_grad():
                fused = fuse_scales(out.merged, size, settings.inference.fusion_weights, "raw")
                masks = without_glass(pseudo_mask(fused, labels), image)
            own = own + pixel_loss(decoded.maps[0], masks, self.balance[0].sqrt())
        total = losses.pop("total") + settings.loss.decoder * own
        return {**losses, "decoder": own, "total": total}
