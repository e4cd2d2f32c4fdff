"""The remainder: a tissue that is in every training patch, and so is what remains where no other one is seen.

Image labels say where a tissue is by contrast with patches that lack it. Of one that no patch lacks they say nothing:
its maps would rise above all others at every pixel. Others are told from it, though, and the logit of a place is above
0 where they are. So the maps of the remainder are 0 everywhere: it wins where all others are below, as background does
that is in every image (Zhou et al., CVPR 2016 and since: a fixed level in place of a map).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

CERTAIN = 6.0
"""Image logit of the remainder: every label had it, so it is there."""


def told_apart(frequency: Tensor) -> Tensor:
    """The tissues that image labels teach: some training patches hold them, and others do not; C bool."""
    return (frequency > 0) & (frequency < 1)


def remainder_of(frequency: Tensor) -> tuple[int, ...]:
    """The tissues of the remainder; none where nothing else can be learnt, either.

    Args:
        frequency: C, part of the training patches that hold each tissue, in [0, 1].
    """
    return tuple((frequency >= 1).nonzero().flatten().tolist()) if told_apart(frequency).any() else ()


def level(maps: Tensor, remainder: Sequence[int]) -> Tensor:
    """Class maps, B×C×h×w, with those of the remainder at 0."""
    return _filled(maps, remainder, 0.0)


def certain(logits: Tensor, remainder: Sequence[int]) -> Tensor:
    """Image logits, B×C, with those of the remainder at `CERTAIN`."""
    return _filled(logits, remainder, CERTAIN)


def _filled(values: Tensor, tissues: Sequence[int], value: float) -> Tensor:
    return values.index_fill(1, torch.tensor(tissues, device=values.device), value) if tissues else values
