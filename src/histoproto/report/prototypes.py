"""What each prototype looks for: the places of a data set where it fires most, with the outline of where it fires."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from histoproto.data.dataset import fit_to_size
from histoproto.data.images import image_size, read_image
from histoproto.data.layouts import Patch
from histoproto.data.masks import read_mask
from histoproto.evaluation.patches import translate_tissues
from histoproto.evaluation.prototypes import PrototypeScores, location_labels, measure_prototypes, tissue_regions
from histoproto.inference.patches import as_batch, pad_to_stride
from histoproto.inference.windows import Window, window_grid
from histoproto.losses.diversity import pseudo_regions
from histoproto.model.network import HasPrototypes
from histoproto.model.prototypes import merge_prototypes
from histoproto.model.saving import ModelCard
from histoproto.report.gallery import spread
from histoproto.report.pictures import RGB, data_uri, draw_outline, enlarge
from histoproto.tissue import TissueSet

BATCH = 16
THUMBNAIL = 144
OUTLINED = 0.2
"""Part of the patch that is outlined: where the activation is strongest, as in the measures of overlap and coverage."""


@dataclass(frozen=True)
class View:
    """A piece of an image that the network sees at once, resized to the patch size if it is smaller."""

    patch: Patch
    window: Window


@dataclass(frozen=True)
class PrototypeMaps:
    """Activation maps of all prototypes on many views."""

    views: tuple[View, ...]
    maps: Tensor
    """N×C×K×h×w."""
    truth: Tensor | None
    """True label of each cell, N×h×w, if there are masks."""
    named: Tensor
    """Tissues that the image label names (all, without a label), N×C bool."""


@dataclass(frozen=True)
class Place:
    """Where a prototype fires: a picture, the patch it is from, the activation, and the colour of the true tissue."""

    picture: str
    patch: str
    activation: float
    truth: str | None


def views_of(patches: Sequence[Patch], size: int) -> list[View]:
    """Every patch in pieces of the patch size; most patches are one piece."""
    views = []
    for patch in patches:
        views += [View(patch, window) for window in window_grid(*image_size(patch.image), size, size)]
    return views


def read_view(view: View, size: int) -> RGB:
    """The pixels of a view, size×size×3."""
    return fit_to_size(np.ascontiguousarray(read_image(view.patch.image)[view.window.place]), size)


@torch.inference_mode()
def collect_maps(
    network: HasPrototypes, card: ModelCard, patches: Sequence[Patch], tissues: TissueSet, most: int
) -> PrototypeMaps:
    """Run patches through the network.

    Args:
        network: trained, on the CPU.
        card: its model card.
        patches: their masks, if all have one, tell the truth.
        tissues: of the data.
        most: views at most, evenly spaced over all.

    Raises:
        TissueError: the data has a tissue that the model does not know.
    """
    size, count = card.patch_size, len(card.tissues)
    translation = translate_tissues(tissues, card.tissues)
    views = spread(views_of(patches, size), most)
    masked = all(view.patch.mask for view in views)
    maps, truth = [], []
    for start in range(0, len(views), BATCH):
        batch = views[start : start + BATCH]
        padded = pad_to_stride(as_batch(np.stack([read_view(view, size) for view in batch]), torch.device("cpu")))
        found = network.prototype_maps(padded)
        cells = math.ceil(size * found.shape[-1] / padded.shape[-1])
        maps.append(found[..., :cells, :cells].float())
        if masked:
            labels = torch.from_numpy(np.stack([translation[_truth(view, tissues, size)] for view in batch]))
            truth.append(location_labels(labels, (cells, cells), count))
    named = np.zeros((len(views), count), dtype=np.bool_)
    for row, view in zip(named, views, strict=True):
        row[translation[:-1]] = view.patch.labels if view.patch.labels is not None else True
    return PrototypeMaps(tuple(views), torch.cat(maps), torch.cat(truth) if truth else None, torch.from_numpy(named))


def _truth(view: View, tissues: TissueSet, size: int) -> NDArray[np.uint8]:
    assert view.patch.mask is not None
    labels = read_mask(view.patch.mask, tissues)[view.window.place]
    return np.asarray(Image.fromarray(labels).resize((size, size), Image.Resampling.NEAREST))


def measure(found: PrototypeMaps) -> PrototypeScores:
    """Measures inside the true regions of the tissues or, without masks, inside those that the model finds among the
    tissues that the image labels name."""
    if found.truth is not None:
        regions = tissue_regions(found.truth, found.maps.shape[1])
    else:
        regions = pseudo_regions(merge_prototypes(found.maps, "softmax"), found.named)
    return measure_prototypes(found.maps, regions, found.truth)


def top_views(peaks: NDArray[np.floating], groups: Sequence[str], count: int) -> list[int]:
    """The views where one prototype fires most, from different groups as long as there are any.

    Args:
        peaks: highest activation in each view, N.
        groups: region or slide of each view, N: neighbours look alike and would show the same thing twice.
        count: how many.

    >>> top_views(np.array([3.0, 2.9, 1.0]), ["a", "a", "b"], 2)
    [0, 2]
    """
    order = np.argsort(-peaks, kind="stable").tolist()
    first: list[int] = []
    for i in order:
        if groups[i] not in {groups[j] for j in first}:
            first.append(i)
    rest = [i for i in order if i not in set(first)]
    return [*first, *rest][:count]


def places_of(found: PrototypeMaps, card: ModelCard, tissue: int, prototype: int, count: int) -> tuple[Place, ...]:
    """Pictures of the places where a prototype fires most, half a patch wide."""
    maps = found.maps[:, tissue, prototype].numpy()
    groups = [view.patch.group for view in found.views]
    return tuple(_place(found, card, tissue, maps[i], i) for i in top_views(maps.max(axis=(1, 2)), groups, count))


def _place(found: PrototypeMaps, card: ModelCard, tissue: int, cells: NDArray[np.float32], index: int) -> Place:
    view, size, colours = found.views[index], card.patch_size, card.tissues.rgb()
    row, column = (int(i) for i in np.unravel_index(cells.argmax(), cells.shape))
    side = size // 2
    top, left = (
        int(np.clip((cell + 0.5) * size / count - side / 2, 0, size - side))
        for cell, count in ((row, cells.shape[0]), (column, cells.shape[1]))
    )
    crop = np.s_[top : top + side, left : left + side]
    picture = np.asarray(
        Image.fromarray(np.ascontiguousarray(read_view(view, size)[crop])).resize(
            (THUMBNAIL, THUMBNAIL), Image.Resampling.BICUBIC
        )
    )
    # The map is enlarged before it is cropped, so that the outline runs on at the border of the picture.
    level = enlarge(cells, size, size)
    strongest = enlarge(level[crop], THUMBNAIL, THUMBNAIL) >= np.quantile(level, 1 - OUTLINED)
    picture = draw_outline(picture, strongest, colours[tissue])
    truth = None
    if found.truth is not None:
        truth = "#{:02x}{:02x}{:02x}".format(*colours[int(found.truth[index, row, column])])
    return Place(data_uri(picture), view.patch.image.name, float(cells.max()), truth)
