"""Pixel loss: cross-entropy of class maps with a label map (true, pseudo or synthetic), and pseudo masks for it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from histoproto.model.lattice import Lattice


def pixel_loss(maps: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the labelled pixels, of a `Lattice` where maps are much coarser than labels.

    Args:
        maps: logits B×C×h×w; enlarged (bilinear) to the size of the labels.
        labels: B×H×W, 0 … C − 1; everything else is ignored.
        weights: C, of the tissues; None: all alike.

    Returns:
        A scalar ≥ 0; 0 if no pixel is labelled.
    """
    tissues = maps.shape[1]
    lattice = Lattice.under(maps, (labels.shape[-2], labels.shape[-1]))
    logits, labels = lattice.maps(maps), lattice.pixels(labels)
    known = (labels >= 0) & (labels < tissues)
    target = torch.where(known, labels, 0)
    losses = F.cross_entropy(logits, target, reduction="none")
    share = known if weights is None else known * weights[target]
    return (losses * share).sum() / share.sum().clamp(min=1e-6)


def pseudo_mask(maps: Tensor, present: Tensor) -> Tensor:
    """The strongest tissue of those that the image label names, at each location.

    Args:
        maps: class activation maps B×C×h×w.
        present: B×C, true (or 1) where the tissue is in the patch.

    Returns:
        B×h×w, 0 … C − 1; −1 throughout a patch whose label names none.
    """
    present = present.bool()
    winner = maps.masked_fill(~present[:, :, None, None], -torch.inf).argmax(dim=1)
    return winner.masked_fill(~present.any(dim=1)[:, None, None], -1)
