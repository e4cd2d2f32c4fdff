"""Full supervision: the same encoder with pixel labels, the ceiling of all weak methods.

With pseudo masks in place of true ones it is the second stage of any of them.
"""

from __future__ import annotations

from torch import Tensor

from histoproto.data.dataset import Sample
from histoproto.losses.pixel import pixel_loss
from histoproto.methods.base import Method


class Supervised(Method):
    """Pixel loss on the label maps of the training patches; the image labels train the classifier that gates."""

    architecture = "segmentation"
    from_features = True
    extras = frozenset({"masks"})

    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """See `Method.losses`: pixels, classification and total."""
        out = self.network.head(self.features(batch))
        pixels = pixel_loss(out.maps[0], batch["mask"], self.balance[0].sqrt())
        classes = self.classification(out.logits, batch["labels"])
        return {"classification": classes, "pixels": pixels, "total": pixels + classes}
