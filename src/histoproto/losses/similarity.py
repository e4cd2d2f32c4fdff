"""Mask refiner: what a prototype fires on shall look, to a frozen teacher, like that prototype (LPD, arXiv 2512.05922).

Both variants end in the same contrastive loss; they differ in how the foreground and background of a (patch,
prototype) pair are embedded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_EPSILON = 1e-6
_LEAST_NORM = 1e-3
"""Shorter vectors count as this long: the gradient at a zero vector is the inverse, and must not overflow in half."""


class Pairs(NamedTuple):
    """The (patch, prototype) pairs that take part: three index vectors of length N."""

    patch: Tensor
    tissue: Tensor
    prototype: Tensor


def select_pairs(maps: Tensor, present: Tensor) -> Pairs:
    """Prototypes of present tissues whose pooled activation is at least the mean of that tissue's prototypes.

    The paper says *above* the mean; "at least" differs only where all K are equal, and lets K = 1 take part.

    Args:
        maps: activation maps A_4, B×C×K×h×w.
        present: B×C, true where the tissue is in the patch.
    """
    pooled = maps.detach().float().mean(dim=(3, 4))
    chosen = (pooled >= pooled.mean(dim=2, keepdim=True) - _EPSILON) & present.bool()[:, :, None]
    return Pairs(*chosen.nonzero(as_tuple=True))


def normalise_maps(maps: Tensor) -> Tensor:
    """Each map (last two dimensions) stretched to [0, 1]; a flat map becomes 0.

    An activation is a logit; as a weight it must lie in [0, 1].
    """
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp(min=_EPSILON)


def weights_of(maps: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Foreground weights a·m and background weights (1 − a)·(1 − m) of normalised maps a, with m = a > alpha·max."""
    inside = maps > threshold * maps.amax(dim=(-2, -1), keepdim=True)
    return maps * inside, (1 - maps) * ~inside


def feature_embeddings(maps: Tensor, pairs: Pairs, teacher_map: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Foreground and background embeddings of each pair by weighted pooling of one dense teacher map per patch.

    Args:
        maps: activation maps A_4, B×C×K×h×w.
        pairs: N pairs.
        teacher_map: dense features of the teacher, B×D×h_t×w_t, without gradient.
        threshold: alpha.

    Returns:
        Two N×D tensors.
    """
    chosen = F.interpolate(_of_pairs(maps, pairs)[:, None], teacher_map.shape[-2:], mode="bilinear")[:, 0]
    foreground, background = weights_of(normalise_maps(chosen), threshold)
    dense = teacher_map.float()[pairs.patch].flatten(2)
    return _weighted_mean(dense, foreground), _weighted_mean(dense, background)


def image_embeddings(
    maps: Tensor,
    pairs: Pairs,
    images: Tensor,
    teacher: Callable[[Tensor], Tensor],
    threshold: float,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Foreground and background embeddings as in the paper: the teacher sees the masked, weighted images.

    Args:
        maps: activation maps A_4, B×C×K×h×w.
        pairs: N pairs.
        images: RGB B×3×H×W in [0, 1].
        teacher: frozen; images B×3×H×W → embeddings B×D, differentiable with respect to its input.
        threshold: alpha.
        chunk: images per teacher call; None: as many as the memory that is free now can hold. More than one chunk is
            recomputed in the backward pass, so memory stays flat.

    Returns:
        Two N×D tensors.
    """
    chosen = F.interpolate(_of_pairs(maps, pairs)[:, None], images.shape[-2:], mode="bilinear")
    weights = torch.cat(weights_of(normalise_maps(chosen), threshold))
    patch = torch.cat([pairs.patch, pairs.patch])
    chunk = chunk or images_at_once(teacher, images[:1])

    def embed(part: Tensor, rows: Tensor) -> Tensor:
        return teacher(part * images[rows])

    parts = list(zip(weights.split(chunk), patch.split(chunk), strict=True))
    if len(parts) == 1:
        embedded = embed(*parts[0])
    else:
        embedded = torch.cat([checkpoint(embed, *part, use_reentrant=False) for part in parts])
    foreground, background = embedded.float().chunk(2)
    return foreground, background


def images_at_once(teacher: Callable[[Tensor], Tensor], image: Tensor) -> int:
    """How many images a teacher can embed with gradient in half of the memory that is free now, at least 1.

    Args:
        teacher: see `image_embeddings`.
        image: 1×3×H×W.
    """
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += 0 if isinstance(tensor, torch.nn.Parameter) else tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        teacher(image.detach().requires_grad_())
    return max(1, _free_memory(image.device) // (2 * max(kept, image.nbytes)))


def _free_memory(device: torch.device) -> int:
    """Bytes; 4 GiB where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 * 2**30


def contrastive_loss(
    foreground: Tensor, background: Tensor, pairs: Pairs, prototypes: Tensor, temperature: float
) -> Tensor:
    """L_fg + L_bg: InfoNCE of the pairs' embeddings against all C·K prototypes.

    L_fg = −log softmax(cos / t)[own]: the foreground belongs to its own prototype. L_bg = −log(1 − softmax(cos / t)
    [own]): the background belongs to any of the others (several positives).

    Args:
        foreground, background: N×D.
        pairs: which prototype is each row's own.
        prototypes: C×K×D.
        temperature: t > 0 (the paper: 0.07).

    Returns:
        A scalar ≥ 0; 0 if there are no pairs.
    """
    if len(pairs.patch) == 0:
        return prototypes.sum() * 0.0
    bank = F.normalize(prototypes.float().flatten(0, 1), dim=-1, eps=_LEAST_NORM)
    own = (pairs.tissue * prototypes.shape[1] + pairs.prototype)[:, None]
    fg = (F.normalize(foreground, dim=-1, eps=_LEAST_NORM) @ bank.T / temperature).log_softmax(dim=1)
    loss = -fg.gather(1, own).mean()
    if len(bank) > 1:
        logits = F.normalize(background, dim=-1, eps=_LEAST_NORM) @ bank.T / temperature
        others = logits.scatter(1, own, -torch.inf).logsumexp(dim=1)
        loss = loss + (logits.logsumexp(dim=1) - others).mean()
    return loss


def _of_pairs(maps: Tensor, pairs: Pairs) -> Tensor:
    return maps[pairs.patch, pairs.tissue, pairs.prototype].float()


def _weighted_mean(dense: Tensor, weights: Tensor) -> Tensor:
    """N×D×L features pooled with N×h×w weights; zero weights give the zero vector."""
    weights = weights.flatten(1)
    return torch.einsum("ndl,nl->nd", dense, weights) / weights.sum(dim=1, keepdim=True).clamp(min=_EPSILON)
