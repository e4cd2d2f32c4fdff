"""Presence by place: what overlapping windows say about which tissues are there, as a map like any other.

The classifier speaks about a patch. Of the patches around a place each has its say, and the nearer its middle is and
the more tissue it shows, the more it counts: logits are blended like the maps, so that the gate moves smoothly over the
image and does not show where windows happen to lie. A single window is gated as it would be by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from histoproto.inference.patches import Evidence

LEAST_SHARE = 0.01
"""A window without tissue counts this much: its word decides only where there is no other."""


def spread(evidence: Evidence, shares: Tensor) -> Tensor:
    """The evidence of windows as maps, whose weighted mean over windows `place_evidence` takes apart.

    A patch half on glass is not what the classifier has learnt, and what it finds there must not rub off on the tissue
    beside it: its logits count by its share of tissue.

    Args:
        evidence: of B windows; logits B×C.
        shares: share of tissue in each, B, in [0, 1].

    Returns:
        B×(L+C+1)×H×W: maps, shares times logits, shares; before them, where it is known, shares times strangeness.
    """
    weights = shares.to(evidence.logits).clamp(min=LEAST_SHARE)[:, None]
    strange = [] if evidence.strange is None else [evidence.strange[:, :1].to(weights) * weights]
    said = torch.cat([*strange, evidence.logits * weights, weights], dim=1)[:, :, None, None]
    return torch.cat([evidence.maps, said.expand(-1, -1, *evidence.maps.shape[2:])], dim=1)


def place_evidence(blended: Tensor, tissues: int, strange: bool = False) -> Evidence:
    """What is known at each place, from the blended `spread` of windows, B×(L+C+1)×H×W; 0 where no window was.

    `strange`: their strangeness was spread, too.
    """
    extra = int(strange)
    maps, unlike, logits, weights = blended.split([blended.shape[1] - tissues - extra - 1, extra, tissues, 1], dim=1)
    weights = weights.clamp(min=torch.finfo(weights.dtype).tiny)
    return Evidence(maps, logits / weights, unlike / weights if strange else None)
