"""Holding out part of the weakly labelled patches, to choose a checkpoint and thresholds without any mask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from histoproto.data.layouts import Patch


def hold_out(patches: Sequence[Patch], fraction: float, seed: int) -> tuple[list[Patch], list[Patch]]:
    """Split patches into a training and a held-out part, without tearing a group (region, slide) apart.

    Groups are drawn at random and held out as long as no tissue loses more than its share: with few regions of a rare
    tissue, a plain draw could take most of it away from training. Patches of one region overlap and look alike, so
    splitting them would make the held-out part too easy.

    Args:
        patches: with labels.
        fraction: of the patches to hold out, in [0, 1); what is reached is at most this, and less if groups are large.
        seed: of the draw.

    Returns:
        (training, held out), each in the given order.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, patch in enumerate(patches):
        groups[patch.group].append(index)
    labels = np.array([patch.labels for patch in patches], dtype=np.int64)
    # Room per tissue, and in the last column for the patches themselves.
    weight = np.concatenate([labels, np.ones((len(patches), 1), dtype=np.int64)], axis=1)
    room = np.floor(fraction * weight.sum(axis=0)).astype(np.int64)
    names = sorted(groups)
    held: set[int] = set()
    for position in np.random.default_rng(seed).permutation(len(names)):
        members = groups[names[position]]
        cost = weight[members].sum(axis=0)
        if (cost <= room).all():
            room -= cost
            held.update(members)
    training = [patch for index, patch in enumerate(patches) if index not in held]
    return training, [patch for index, patch in enumerate(patches) if index in held]
