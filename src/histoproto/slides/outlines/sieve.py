"""Taking specks out of a label map."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.outlines.runs import Indices, connected_runs

Labels = NDArray[np.uint8]


def sieve(labels: Labels, smallest: int, open_top: bool = False, open_bottom: bool = False) -> Labels:
    """The label map with every connected region of fewer pixels given the label it has most border with.

    Regions hang together along edges, not at corners. Specks that touch only other specks follow once those have
    become part of a region.

    Args:
        labels: H×W.
        smallest: pixels of the smallest region that stays.
        open_top, open_bottom: the map goes on there, so a region that touches that edge may be larger than it looks
            and stays.

    >>> sieve(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 2]], dtype=np.uint8), 2).tolist()
    [[1, 1, 1], [1, 1, 1], [1, 1, 1]]
    """
    height, width = labels.shape
    runs = connected_runs(labels)
    sizes = np.bincount(runs.components, weights=runs.lengths, minlength=runs.count)
    speck = sizes < smallest
    if open_top:
        speck[runs.components[runs.starts < width]] = False
    if open_bottom:
        speck[runs.components[runs.starts >= (height - 1) * width]] = False
    if not speck.any() or speck.all():
        return labels
    component_labels = np.empty(runs.count, np.uint8)
    component_labels[runs.components] = runs.labels
    pairs = _neighbours(runs.components, runs.count, speck, *runs.borders())
    while speck.any():
        (specks, others, length), candidates = pairs, ~speck[pairs[1]]
        specks, others, length = specks[candidates], others[candidates], length[candidates]
        if not len(specks):
            break
        votes = coo_array((length, (specks, component_labels[others])), shape=(runs.count, 256)).tocsr()
        chosen = np.unique(specks)
        component_labels[chosen] = np.asarray(votes[chosen].argmax(axis=1)).reshape(-1)
        speck[chosen] = False
        pairs = tuple(part[speck[pairs[0]]] for part in pairs)
    return runs.paint(component_labels[runs.components], height)


def _neighbours(
    components: Indices, count: int, speck: NDArray[np.bool_], first: Indices, second: Indices, length: Indices
) -> tuple[Indices, ...]:
    """Border lengths from each speck to each component it touches: (speck, other, length)."""
    a = np.concatenate([components[first], components[second]])
    b = np.concatenate([components[second], components[first]])
    of_speck = speck[a] & (a != b)
    summed = coo_array(
        (np.concatenate([length, length])[of_speck], (a[of_speck], b[of_speck])), shape=(count, count)
    ).tocsr()
    summed.sum_duplicates()
    summed = summed.tocoo()
    return summed.row.astype(np.intp), summed.col.astype(np.intp), summed.data


def clean(raster: LabelRaster, smallest: int, step: int) -> None:
    """Take the specks out of a raster in place, some `step` rows at a time, so that all that is made of it agrees.

    Raises:
        OutputError: the disk is full.
    """
    if smallest > 1:
        for top, rows in sieved_rows(raster, smallest, step):  # reads below what it has handed out, never in it
            raster.write(top, 0, rows)


def sieved_rows(raster: LabelRaster, smallest: int, step: int) -> Iterator[tuple[int, Labels]]:
    """As `LabelRaster.rows`, without specks of fewer than `smallest` pixels.

    Each strip is sieved together with some rows that follow, so that specks on a seam go too; what is taller than those
    rows stays. What has been handed out is never changed again: neighbouring strips always agree.
    """
    if smallest <= 1:
        yield from raster.rows(step)
        return
    halo = min(4 * math.isqrt(smallest) + 8, 1024)
    ready, begun = np.empty((0, raster.width), np.uint8), False  # rows that were sieved with the strip before
    for top in range(0, raster.height, step):
        known = top + len(ready)
        end = min(top + step + halo, raster.height)
        fresh = raster.read(known, 0, end - known, raster.width)
        window = sieve(np.concatenate([ready, fresh]), smallest, open_top=begun, open_bottom=end < raster.height)
        yield top, window[:step]
        ready, begun = window[step:], True
