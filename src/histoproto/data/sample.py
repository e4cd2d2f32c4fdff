"""What a dataset gives for one patch."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor


class Sample(TypedDict, total=False):
    """One patch, or a batch of them after collation."""

    image: Tensor
    """3×S×S RGB in [0, 1]."""
    labels: Tensor
    """C, float in {0, 1}."""
    teacher: Tensor
    """D×h×w dense features of the teacher, turned like the image; only where they were computed in advance."""
    mask: Tensor
    """S×S label map, turned like the image (C: to be ignored); only in methods that train on pixel labels."""
    pasted: Tensor
    """S×S, the tissue of a piece that was pasted in, −1 elsewhere; only where pieces are pasted."""
    mosaic: Tensor
    """3×S×S RGB in [0, 1], put together from several patches; see `histoproto.data.mosaic`."""
    mosaic_mask: Tensor
    """S×S label map of the mosaic."""
