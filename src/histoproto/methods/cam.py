"""CAM: a linear classifier on globally averaged features, and its class activation maps (Zhou et al., CVPR 2016).

Grad-CAM (Selvaraju et al., ICCV 2017) of such a network is the same map up to a constant and a positive factor, so it
has no file of its own; `tests/test_methods.py` shows it.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from histoproto.data.dataset import Sample
from histoproto.methods.base import Method


class CAM(Method):
    """Classification loss alone, on the last scale."""

    architecture = "linear"
    from_features = True
    preset: ClassVar = {"model": {"pooling": "mean"}}

    def losses(self, batch: Sample, progress: float) -> dict[str, Tensor]:
        """See `Method.losses`."""
        logits = self.network.head(self.features(batch)).logits
        loss = self.classification(logits, batch["labels"])
        return {"classification": loss, "total": loss}
