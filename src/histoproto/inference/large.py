"""A large image: the steps of a patch, done window by window and blended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from histoproto.config import InferenceSettings
from histoproto.inference.background import glass_in_strips
from histoproto.inference.crf import dense_crf
from histoproto.inference.fusion import Ranges
from histoproto.inference.patches import Evidence, add_ranges, as_batch, patch_evidence
from histoproto.inference.places import place_evidence, spread
from histoproto.inference.strangeness import Strangeness
from histoproto.inference.windows import CELL, OVERLAP, Window, blend, window_grid
from histoproto.model.lattice import upsample_maps
from histoproto.model.network import Network

BATCH = 16
"""Windows that go through the network together."""
HUGE = 2**25
"""Pixels of an image above which its maps are not held at full resolution, which takes some 80 bytes a pixel."""
HUGE_OVERLAP = 0.5
"""Of the windows of such images: there are a quarter as many as usually."""
STRIP = 2**21
"""Pixels that are decided on at once there."""
CRF_BATCH = 4
HALO_WITH_CRF = 16
"""Cells."""


def windowed_evidence(
    network: Network,
    image: NDArray[np.uint8],
    patch_size: int,
    settings: InferenceSettings,
    thresholds: Tensor,
    labels: Tensor | None = None,
    overlap: float = OVERLAP,
    strangeness: Strangeness | None = None,
) -> Evidence:
    """What is known at each pixel of one image of any size, blended on the CPU from its windows, as for a slide.

    Which tissues are present is decided at each place by the windows around it (`places`): what the classifier says is
    about a patch, and a tissue at one end of a large image says nothing about the other. Min–max maps, on the other
    hand, are stretched over the whole image (in a first round through the windows), as a window that is full of a
    tissue holds nothing that is low for it.

    Args:
        network, settings, thresholds: see `patch_evidence` and `gated`; `thresholds` on the device of the network.
        image: H×W×3 uint8 RGB.
        patch_size: side of the windows, rounded up to whole cells.
        labels: `oracle` labels of the whole image, 1×C bool, or None.
        overlap: of neighbouring windows, in [0, 1).
        strangeness: see `patch_evidence`.

    Returns:
        For a batch of one, to be `gated`; all of it goes by place.
    """
    height, width = image.shape[:2]
    evidence = blended_evidence(network, image, patch_size, settings, thresholds, labels, overlap, strangeness)
    rows, columns = evidence.maps.shape[-2:]

    def upsampled(part: Tensor) -> Tensor:
        return upsample_maps(part, (rows * CELL, columns * CELL))[..., :height, :width]

    return _each(upsampled, evidence)


def strips_of_evidence(
    evidence: Evidence, height: int, width: int, crf: bool
) -> Iterator[tuple[Evidence, slice, slice]]:
    """What is known of an image from top to bottom, where it is too large to be held as a whole.

    Args:
        evidence: as `blended_evidence` gives it.
        height, width: of the image.
        crf: whether labels depend on what is around them.

    Yields:
        The evidence of some rows; which rows of the image they are; and which of these are this strip's alone: what is
        decided may depend on a cell beside it, with the CRF on half a window.
    """
    rows, step = evidence.maps.shape[-2], max(1, STRIP // width // CELL)
    halo = HALO_WITH_CRF if crf else 1
    for first in range(0, rows, step):
        top, bottom = max(0, first - halo), min(rows, first + step + halo)
        start, end = top * CELL, min(height, bottom * CELL)

        def upsampled(part: Tensor, cells: slice = slice(top, bottom), high: int = end - start) -> Tensor:
            found = F.interpolate(part[..., cells, :], scale_factor=CELL, mode="bilinear", align_corners=False)
            return found[..., :high, :width]

        core = slice(first * CELL - start, min(height, (first + step) * CELL) - start)
        yield _each(upsampled, evidence), slice(start, end), core


def _each(upsampled: Callable[[Tensor], Tensor], evidence: Evidence) -> Evidence:
    strange = None if evidence.strange is None else upsampled(evidence.strange)
    return Evidence(upsampled(evidence.maps), upsampled(evidence.logits), strange)


def blended_evidence(
    network: Network,
    image: NDArray[np.uint8],
    patch_size: int,
    settings: InferenceSettings,
    thresholds: Tensor,
    labels: Tensor | None = None,
    overlap: float = OVERLAP,
    strangeness: Strangeness | None = None,
) -> Evidence:
    """What the windows of an image say of each of its cells, see `windowed_evidence`; on the CPU."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % CELL), (0, -width % CELL), (0, 0)), mode="reflect")
    size = -(-patch_size // CELL)
    rows, columns = (side // CELL for side in padded.shape[:2])
    cells = window_grid(rows, columns, size, max(1, round(size * (1 - overlap))))
    glass = glass_in_strips(padded)
    ranges: Ranges | None = None

    def cut(batch: Sequence[Window]) -> tuple[Tensor, Tensor]:
        places = [Window(*(CELL * side for side in window)).place for window in batch]
        pixels = as_batch(np.stack([padded[place] for place in places]), thresholds.device)
        return pixels, torch.tensor([1 - float(glass[place].mean()) for place in places])

    def predict(batch: Sequence[Window]) -> Tensor:
        pixels, shares = cut(batch)
        return spread(patch_evidence(network, pixels, settings, ranges, CELL, strangeness), shares)

    if settings.background == "activation" or settings.fusion == "minmax":
        for start in range(0, len(cells), BATCH):
            pixels, _ = cut(cells[start : start + BATCH])
            named = None if labels is None else labels.expand(len(pixels), -1)
            ranges = add_ranges(ranges, network, pixels, thresholds, named)
    return place_evidence(blend(predict, cells, BATCH)[None], len(thresholds), strangeness is not None)


def windowed_crf(pixels: Tensor, chances: Tensor, windows: Sequence[Window], device: torch.device) -> Tensor:
    """The dense CRF of one image (1×3×H×W uint8, 1×L×H×W) in windows, blended; its memory is that of a few windows."""

    def refine(batch: Sequence[Window]) -> Tensor:
        images, unaries = (torch.cat([whole[:, :, *w.place] for w in batch]).to(device) for whole in (pixels, chances))
        refined: Tensor = dense_crf(images, unaries)
        return refined

    return blend(refine, windows, CRF_BATCH)[None]
