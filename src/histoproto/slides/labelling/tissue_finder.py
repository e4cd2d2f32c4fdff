"""Where on a slide there is tissue, seen from afar."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

THRESHOLDS = (12, 20)
"""Least and greatest threshold of colourfulness: neither glass alone nor tissue alone is split in two."""
GREEN_INK, BLUE_INK = 12, 48
"""Grey levels by which green or blue exceeds red in ink. In stained tissue green is lowest, and blue near to red."""
RED_INK = 120
"""By which red exceeds both in red ink. Eosin keeps its blue, brown its green; blood at this magnification is paler."""
TINGE = 5
"""Grey levels by which the mean of green and blue exceeds red, at the median of all other coloured pixels, where green
or blue is a dye: the plasma of a pale haematoxylin alone is bluish, too; that of a slide with eosin is far from it."""
INK_AT_MOST = 0.25
"""Share of ink in all that is coloured, above which it is a dye of the tissue: blue of haematoxylin alone (negative
immunohistochemistry: 25 to 82 %), blue or green of a trichrome. A real slide with thick lines around all of its tissue
has 15 %."""
INK_SAID = 0.02
"""Share from which on marks that are left out are told."""
SPECK_UM2 = 4_000.0
HOLE_UM2 = 40_000.0
MARGIN_UM = 16.0
"""By which tissue is widened: its fine outline is found later, pixel by pixel."""


class Tissue(NamedTuple):
    """Where tissue is on a slide."""

    mask: NDArray[np.bool_]
    """H×W."""
    notes: tuple[str, ...]
    """What was taken for ink, or not; and that there is none."""


def find_tissue(image: NDArray[np.uint8], mpp: float) -> Tissue:
    """Tissue of a slide seen at low resolution.

    Colourfulness (the largest minus the smallest of R, G and B) is split by Otsu's threshold; marks of red, green,
    blue and black pens do not count, unless there is so much of a colour, or such a tinge of it everywhere, that it
    must be a dye; small specks are dropped, small
    holes filled, and the rest is widened a little.

    Args:
        image: H×W×3 RGB, about 8 to 30 µm/px.
        mpp: its µm/px.

    Returns:
        True on tissue, nowhere on an empty slide; and what there is to say of it.
    """
    smooth = ndimage.uniform_filter(image, (3, 3, 1)) if min(image.shape[:2]) >= 3 else image
    colourful = smooth.max(axis=2) - smooth.min(axis=2)
    ink, notes = _find_ink(smooth, colourful)
    colourful[ink] = 0
    tissue = colourful > np.clip(otsu(colourful[~ink]), *THRESHOLDS)
    tissue = ndimage.binary_closing(tissue, iterations=2) | tissue
    tissue = _without_small(tissue, min(SPECK_UM2 / mpp**2, 0.5 * tissue.size))
    holes = ndimage.binary_fill_holes(tissue) & ~tissue
    tissue |= holes & ~_without_small(holes, HOLE_UM2 / mpp**2)
    tissue &= ~ndimage.binary_dilation(ink)
    if not tissue.any():
        notes.append("no tissue was found: nothing is coloured")
    radius = ceil(MARGIN_UM / mpp)
    return Tissue(np.asarray(ndimage.binary_dilation(tissue, iterations=radius)), tuple(notes))


def _find_ink(smooth: NDArray[np.uint8], colourful: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], list[str]]:
    """Marks of red, green and blue pens; ink is a small share of a slide, what is more is a dye."""
    red, green, blue = np.moveaxis(smooth.astype(np.int16), 2, 0)
    cold = (green - red >= GREEN_INK) | (blue - red >= BLUE_INK)
    # Along a mark of red ink glass shines through: a pink like that of tissue.
    hot = ndimage.binary_dilation(red - np.maximum(green, blue) >= RED_INK, iterations=2) & ~cold
    marks = {"red": hot, "green": cold & (green >= blue), "blue": cold & (green < blue)}
    coloured = (colourful > THRESHOLDS[1]) | cold | hot
    rest = ((green + blue) / 2 - red)[coloured & ~cold & ~hot]
    tinged = rest.size > 0 and np.median(rest) >= TINGE
    ink, notes = np.zeros(coloured.shape, dtype=np.bool_), []
    for colour, mark in marks.items():
        share = mark.sum() / max(1, int(coloured.sum()))
        if share > INK_AT_MOST or (tinged and colour != "red" and mark.any()):
            why = "ink of a pen is less" if share > INK_AT_MOST else "all the rest is bluish, too"
            notes.append(f"{share:.0%} of what is coloured is {colour}: taken for tissue, as {why}")
            continue
        ink |= mark
        if share > INK_SAID:
            notes.append(f"{share:.0%} of what is coloured is {colour}: left out, as ink of a pen")
    return ink, notes


def otsu(values: NDArray[np.uint8]) -> int:
    """Otsu's threshold (IEEE Trans. SMC 1979): values up to it and above it are the two most different groups.

    >>> otsu(np.array([10, 11, 12, 200, 210], dtype=np.uint8))
    12
    """
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    below, sums = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        between = (sums * above - (sums[-1] - sums) * below) ** 2 / (below * above)
    return int(np.argmax(np.nan_to_num(between, posinf=0.0)))


def _without_small(mask: NDArray[np.bool_], pixels: float) -> NDArray[np.bool_]:
    """The mask without its connected parts of fewer pixels."""
    parts, _ = ndimage.label(mask)
    large = np.bincount(parts.ravel()) >= pixels
    large[0] = False
    return np.asarray(large[parts])
