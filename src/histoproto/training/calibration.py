"""Gating thresholds per tissue, calibrated on image labels: no mask is needed.

The classification loss does not make 0.5 the best cut, least of all for a rare tissue.
"""

from __future__ import annotations

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Subset

from histoproto.data.dataset import PatchDataset
from histoproto.methods.base import features_of
from histoproto.model.network import EncodedNetwork

TRAINING_WEIGHT = 0.3
"""Weight of a training patch beside a held-out one: the network has fitted it, but without any of them a tissue that
was not held out could not be calibrated."""
MOST_PATCHES = 1000
"""Training patches that are looked at; more would not change three decimals."""


def best_f1_threshold(logits: NDArray[np.float64], labels: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """The probability that cuts with the highest weighted F1 score, halfway (in logits) between what it separates.

    Args:
        logits: N.
        labels: N, true where the tissue is present.
        weights: N, above 0.

    Returns:
        In (0, 1); 0.5 if the tissue is in all patches or in none, for then nothing can be learnt about it.
    """
    if labels.all() or not labels.any():
        return 0.5
    order = np.argsort(-logits, kind="stable")
    ranked, hits = logits[order], (weights * labels)[order].cumsum()
    f1 = 2 * hits / (weights[order].cumsum() + hits[-1])
    f1[:-1][ranked[:-1] == ranked[1:]] = 0  # equal logits cannot be separated
    cut = int(f1.argmax())
    below = ranked[cut + 1] if cut + 1 < len(ranked) else ranked[cut] - 2
    return float(1 / (1 + np.exp(-(ranked[cut] + below) / 2)))


@torch.inference_mode()
def calibrate_thresholds(
    network: EncodedNetwork, training: PatchDataset, held_out: PatchDataset | None
) -> tuple[float, ...]:
    """The threshold of each tissue for a trained network.

    Args:
        network: trained, on any device.
        training: its training patches, without augmentation; at most `MOST_PATCHES` of them are used.
        held_out: patches that training did not see, or None.
    """
    some = np.random.default_rng(0).permutation(len(training))[:MOST_PATCHES].tolist()
    parts = [(Subset(training, some), TRAINING_WEIGHT)] + ([(held_out, 1.0)] if held_out else [])
    device = next(network.parameters()).device
    logits, labels, weights = [], [], []
    network.eval()
    for dataset, weight in parts:
        for batch in DataLoader(dataset, batch_size=64):
            features = features_of(network, move_data_to_device(batch, device))
            logits.append(network.head(features).logits.float().cpu())
            labels.append(batch["labels"])
            weights.append(torch.full((len(batch["labels"]),), weight))
    z, y, w = (torch.cat(part).double().numpy() for part in (logits, labels, weights))
    return tuple(best_f1_threshold(z[:, c], y[:, c] > 0, w) for c in range(y.shape[1]))
