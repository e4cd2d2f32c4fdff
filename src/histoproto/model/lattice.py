"""Between maps and pixels: maps enlarged to an image, at all of its pixels or at some."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

PIXELS_PER_CELL = 2
"""Of a lattice, along each side of a cell of the maps."""


def upsample_maps(maps: Tensor, size: tuple[int, int], step: int = 1) -> Tensor:
    """B×C×h×w to B×C×H×W, bilinear with corners not aligned, as `interpolate` does it but as two matrix products.

    On a CPU that is five times as quick. With `step` n, every n-th pixel of that, from the middle of the first n × n.
    """
    if tuple(maps.shape[-2:]) == size:
        return maps[..., step // 2 :: step, step // 2 :: step]
    rows, columns = (
        F.interpolate(torch.eye(few, device=maps.device)[None], many, mode="linear", align_corners=False)[0]
        for few, many in zip(maps.shape[-2:], size, strict=True)
    )
    return rows[:, step // 2 :: step].T @ maps @ columns[:, step // 2 :: step]


class Lattice(NamedTuple):
    """Evenly spaced pixels of an image, which say of maps coarser than it what all pixels say.

    Between the centres of its cells an enlarged map is nearly a plane, so a mean over all pixels (a loss) is that over
    a few of each cell, and costs as much less. Maps are taken at the very place of each pixel, so nothing is shifted.
    """

    size: tuple[int, int]
    """H and W of the image."""
    step: int
    """From one of its pixels to the next, in both directions."""

    @classmethod
    def under(cls, maps: Tensor, size: tuple[int, int]) -> Lattice:
        """That of an image of this size with `PIXELS_PER_CELL` for maps, B×C×h×w; all pixels where maps are fine."""
        cell = min(size[0] // maps.shape[-2], size[1] // maps.shape[-1])
        return cls(size, max(1, cell // PIXELS_PER_CELL))

    def pixels(self, image: Tensor) -> Tensor:
        """Those of …×H×W."""
        start = self.step // 2
        return image[..., start :: self.step, start :: self.step]

    def maps(self, maps: Tensor) -> Tensor:
        """B×C×h×w, enlarged to the image, at the pixels of the lattice; single precision."""
        with torch.autocast(maps.device.type, enabled=False):  # which would round the products
            return upsample_maps(maps.float(), self.size, self.step)
