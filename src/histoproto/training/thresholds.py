"""Gating thresholds per tissue, calibrated on image labels: no mask is needed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from histoproto.data.dataset import PatchDataset
from histoproto.model.network import PrototypeNetwork

NEUTRAL = 0.5


def best_f1_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """The threshold in (0, 1) with the highest F1 score, halfway between the two probabilities it separates.

    Args:
        probabilities: N in [0, 1].
        labels: N, true where the tissue is present.

    Returns:
        `NEUTRAL` if the tissue is present in all patches or in none: then nothing can be learnt about it.
    """
    if labels.all() or not labels.any():
        return NEUTRAL
    order = np.argsort(-probabilities, kind="stable")
    sorted_p, hits = probabilities[order], labels[order].cumsum()
    count = np.arange(1, len(order) + 1)
    f1 = 2 * hits / (count + labels.sum())
    f1[:-1][sorted_p[:-1] == sorted_p[1:]] = 0  # equal probabilities cannot be separated
    cut = int(f1.argmax())
    below = sorted_p[cut + 1] if cut + 1 < len(sorted_p) else 0.0
    return float((sorted_p[cut] + below) / 2)


@torch.inference_mode()
def calibrate_thresholds(network: PrototypeNetwork, held_out: PatchDataset) -> tuple[float, ...]:
    """A threshold per tissue from held-out patches that training did not see.

    Args:
        network: trained, on any device.
        held_out: patches with image labels, without augmentation.
    """
    device = next(network.parameters()).device
    batches = list(DataLoader(held_out, batch_size=64))
    network.eval()
    logits = torch.cat([network.class_maps(batch["image"].to(device)).logits.float().cpu() for batch in batches])
    labels = torch.cat([batch["labels"] for batch in batches]).bool().numpy()
    probabilities = logits.sigmoid().double().numpy()
    return tuple(best_f1_threshold(probabilities[:, c], labels[:, c]) for c in range(labels.shape[1]))
