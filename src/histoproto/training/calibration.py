"""Gating thresholds per tissue, and the temperature of their chances, calibrated on image labels: no mask is needed.

The classification loss does not make 0.5 the best cut, least of all for a rare tissue.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from histoproto.config import InferenceSettings
from histoproto.inference.doubt import softened
from histoproto.inference.patches import Evidence
from histoproto.model.saving import Temperature
from histoproto.training.looking_back import Seen

TRAINING_WEIGHT = 0.3
"""Weight of a training patch beside a held-out one: the network has fitted it, but without any of them a tissue that
was not held out could not be calibrated."""
TEMPERATURES = tuple(np.geomspace(1, 8, 64).tolist())
MOST_SURPRISED = -30.0
"""Log chance below which being wrong counts no more."""


def best_f1_threshold(logits: NDArray[np.float64], labels: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """The probability that cuts with the highest weighted F1 score, halfway (in logits) between what it separates.

    Args:
        logits: N.
        labels: N, true where the tissue is present.
        weights: N, above 0.

    Returns:
        In (0, 1); 0.5 if the tissue is in none of the patches, for then nothing can be learnt about it. If it is in
        all of them, all pass, and what reaches 0.5 does anyway.
    """
    if not labels.any():
        return 0.5
    order = np.argsort(-logits, kind="stable")
    ranked, hits = logits[order], (weights * labels)[order].cumsum()
    f1 = 2 * hits / (weights[order].cumsum() + hits[-1])
    f1[:-1][ranked[:-1] == ranked[1:]] = 0  # equal logits cannot be separated
    cut = int(f1.argmax())
    below = ranked[cut + 1] if cut + 1 < len(ranked) else ranked[cut] - 2
    cut_at = float(1 / (1 + np.exp(-(ranked[cut] + below) / 2)))
    return min(0.5, cut_at) if labels.all() else cut_at


def calibrate_thresholds(seen: Seen) -> tuple[float, ...]:
    """The threshold of each tissue for a trained network, by the image labels of the patches it has seen."""
    z, y = seen.logits.double().numpy(), seen.labels.numpy()
    w = np.where(seen.held_out.numpy(), 1.0, TRAINING_WEIGHT)
    return tuple(best_f1_threshold(z[:, c], y[:, c], w) for c in range(y.shape[1]))


def calibrate_temperature(seen: Seen, thresholds: Sequence[float], settings: InferenceSettings) -> Temperature | None:
    """The temperature of the chances of tissues, by the image labels of held-out patches; None if there are none.

    What a label says of a pixel is that it shows one of the tissues of its patch. So the temperature is the most likely
    one, if the chance of being right is the sum of the chances of the tissues in the label; where a patch has a single
    tissue, that is the likelihood of true pixels. Mistaking one tissue of a patch for another of it goes unseen, for
    which reason chances are never made sharper than they are.
    """
    if not len(seen.maps):
        return None
    evidence = Evidence(seen.maps, seen.logits[seen.held_out])
    logs = softened(evidence, settings, torch.tensor(thresholds))
    labels = seen.labels[seen.held_out][:, :, None, None]
    known = labels.any(dim=1).flatten()
    if not known.any():
        return None

    def surprise(temperature: float) -> float:
        chances = (logs[known] / temperature).log_softmax(dim=1)
        right = chances.masked_fill(~labels[known], -torch.inf).logsumexp(dim=1)
        return -float(right.clamp(min=MOST_SURPRISED).mean())

    best = min(TEMPERATURES, key=surprise)
    alone = int((seen.labels[seen.held_out].sum(dim=1) == 1).sum())
    on = f"image labels of {int(known.sum())} held-out patches, {alone} of them with a single tissue; no mask was used"
    return Temperature(value=round(best, 4), calibrated_on=on)
