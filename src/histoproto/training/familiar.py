"""How training patches look, and how far from that is strange: what a run keeps to know unlike images by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from histoproto.inference.strangeness import KINDS, Strangeness, fit_spread, split_look
from histoproto.training.looking_back import Seen

PARTS, WIDE, PARTS_OF_WIDE = 64, 512, 8
"""Parts in which groups are left out, if possible one by one: without an eighth of them a limit may be a third higher,
by which groups happen to go together. With more features than `WIDE` that would take minutes."""
SHARES = {"features": 0.95, "stain": 0.99, "sharpness": 0.99}
"""Of patches of groups left out that are nearer than the limit. Groups differ in stain and sharpness more than a few of
them can tell, so that only what is hardly ever seen is called strange."""
LEAST_SHARE = 0.3
"""Of tissue in a patch that has a say in the limits, as places count by their share of tissue."""
LEAST_PATCHES, LEAST_GROUPS = 20, 4
"""With fewer, nothing can be said of how patches of another group look."""


def know_patches(seen: Seen) -> tuple[Strangeness, str] | None:
    """What to know the training patches by, and a sentence on what its limits were fitted to; None with too few.

    The limits are such that of the patches of groups that took no part in the mean and the spread, as many as `SHARES`
    are within. Groups are left out one by one, or in parts, if there are many. Held-out patches, which the network has
    not seen either, take part.
    """
    groups = np.array(seen.groups)
    learnt, counted = ~seen.held_out, seen.shares >= LEAST_SHARE
    names = np.unique(groups[learnt.numpy()])
    if int((learnt & counted).sum()) < LEAST_PATCHES or len(names) < LEAST_GROUPS:
        return None
    count = min(len(names), PARTS if seen.pooled.shape[1] <= WIDE else PARTS_OF_WIDE)
    order = np.random.default_rng(0).permutation(len(names)) % count
    fold = dict(zip(names.tolist(), order.tolist(), strict=True))
    parts = torch.tensor([fold.get(group, 0) for group in groups.tolist()])
    values = split_look(seen.pooled, seen.look)
    limits = tuple(
        limit_of(each, parts, learnt, counted, SHARES[kind]) for kind, each in zip(KINDS, values, strict=True)
    )
    on = f"{int(learnt.sum())} training patches of {len(names)} groups, left out in {count} parts"
    held = len(groups) - int(learnt.sum())
    spreads = tuple(fit_spread(each[learnt]) for each in values)
    return Strangeness(spreads, limits), on + (f", and {held} held-out patches" if held else "")


def limit_of(values: Tensor, parts: Tensor, learnt: Tensor, counted: Tensor, share: float) -> float:
    """The distance that `share` of the patches stay within, of those that did not take part in the spread.

    Args:
        values: N×D.
        parts: N, the part that a patch is left out with.
        learnt: N bool; the others never take part.
        counted: N bool, those of which `share` is taken.
    """
    distances = [fit_spread(values[learnt]).distance(values[~learnt & counted])]
    for part in parts[learnt].unique():
        out = learnt & (parts == part)
        distances.append(fit_spread(values[learnt & ~out]).distance(values[out & counted]))
    return float(torch.cat(distances).quantile(share))
