"""What image labels tell about a trained network: when a tissue is present, and how tissues compare pixel by pixel.

No mask is needed for either. *Thresholds*: the classification loss does not make 0.5 the best cut, least of all for a
rare tissue. *Offsets*: two class activation maps are trained side by side, not against each other, so one may lie
above the other everywhere; patches that show a single tissue say which should win there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from histoproto.config import InferenceSettings
from histoproto.data.dataset import PatchDataset
from histoproto.inference.background import glass_mask
from histoproto.inference.fusion import fuse_scales
from histoproto.model.network import PrototypeNetwork

TRAINING_WEIGHT = 0.3
"""Weight of a training patch beside a held-out one: the network has fitted it, but without any of them a tissue that
was not held out could not be calibrated."""
MOST_PATCHES = 1000
"""Training patches that are looked at; more would not change three decimals."""
RIDGE = 1e-3


class Calibration(NamedTuple):
    """Per tissue: the probability from which it is present, and what is added to its fused raw map."""

    thresholds: tuple[float, ...]
    offsets: tuple[float, ...]


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


def fit_offsets(scores: Tensor, tissue: Tensor, weights: Tensor) -> Tensor:
    """Offsets b that let each tissue win where it is alone: they minimise the cross-entropy of softmax(scores + b).

    Args:
        scores: N×C×L fused raw maps of N patches with a single tissue, L locations each.
        tissue: N, the index of that tissue.
        weights: N×L, not negative; 0 leaves a location out. Tissues are balanced here.

    Returns:
        C, of mean 0 over the tissues that occur; 0 for the others, about which nothing is known.
    """
    occurring = tissue.unique()
    offsets = scores.new_zeros(scores.shape[1])
    if len(occurring) < 2:
        return offsets
    target = torch.searchsorted(occurring, tissue)
    mass = torch.zeros(len(occurring)).index_add(0, target, weights.sum(dim=1))
    weights = weights / mass.clamp(min=1e-12)[target][:, None] / len(occurring)
    scores = scores[:, occurring]
    free = torch.zeros(len(occurring), requires_grad=True)
    optimiser = torch.optim.LBFGS([free], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        wrong = F.cross_entropy(scores + free[:, None], target[:, None].expand(weights.shape), reduction="none")
        total = (weights * wrong).sum() + RIDGE * free.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimiser.step(loss)
    offsets[occurring] = free.detach() - free.detach().mean()
    return offsets


@torch.no_grad()
def calibrate(
    network: PrototypeNetwork, training: PatchDataset, held_out: PatchDataset | None, settings: InferenceSettings
) -> Calibration:
    """Calibrate a trained network on image labels.

    Args:
        network: trained, on any device.
        training: its training patches, without augmentation; at most `MOST_PATCHES` of them are used.
        held_out: patches that training did not see, or None.
        settings: the weights of the scales.
    """
    some = np.random.default_rng(0).permutation(len(training))[:MOST_PATCHES].tolist()
    parts = [(Subset(training, some), TRAINING_WEIGHT)] + ([(held_out, 1.0)] if held_out else [])
    device = next(network.parameters()).device
    logits, labels, maps, tissue, weights, location_weights = [], [], [], [], [], []
    network.eval()
    for dataset, weight in parts:
        for batch in DataLoader(dataset, batch_size=32):
            out = network.class_maps(batch["image"].to(device))
            logits.append(out.logits.float().cpu())
            labels.append(batch["labels"])
            weights.append(torch.full((len(batch["labels"]),), weight))
            alone = batch["labels"].sum(dim=1) == 1
            size = (out.maps[0].shape[-2], out.maps[0].shape[-1])
            fused = fuse_scales([m[alone.to(device)] for m in out.maps], size, settings.fusion_weights, "raw")
            maps.append(fused.float().cpu().flatten(2))
            tissue.append(batch["labels"][alone].argmax(dim=1))
            pixels = (batch["image"][alone] * 255).round().byte().permute(0, 2, 3, 1).numpy()
            covered = torch.from_numpy(~glass_mask(pixels)).float() if len(pixels) else torch.zeros(0, 1, 1)
            location_weights.append(weight * F.adaptive_avg_pool2d(covered[:, None], size).flatten(1))
    z, y, w = (torch.cat(part).double().numpy() for part in (logits, labels, weights))
    thresholds = tuple(best_f1_threshold(z[:, c], y[:, c] > 0, w) for c in range(y.shape[1]))
    offsets = fit_offsets(torch.cat(maps), torch.cat(tissue), torch.cat(location_weights))
    return Calibration(thresholds, tuple(offsets.tolist()))
