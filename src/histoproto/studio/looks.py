"""Whether a tile is worth a label: those that are mostly glass, drawn on with a pen, or blurred are asked for last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from histoproto.slides.labelling.tissue_finder import BLUE_INK, GREEN_INK, INK_AT_MOST, RED_INK
from histoproto.studio.records import Tile

LEAST_TISSUE = 0.3
"""Share of a tile."""
MOST_INK = 0.15
"""Share of a tile."""
BLACK = 70
"""Grey level below which all of R, G and B are in black ink; the darkest nuclei are more colourful than `FLAT`."""
FLAT = 25
BLURRED = 0.6
"""Of the median sharpness of the tiles of a slide, below which a tile is out of focus."""
FEW = 8
"""Tiles of a slide, below which nothing is known of its usual sharpness."""


class Look(NamedTuple):
    """Of one tile: the share that is tissue and the share that is ink, in [0, 1], and how sharp it is, above 0."""

    tissue: float
    ink: float
    sharpness: float


UNKNOWN = Look(np.nan, np.nan, np.nan)  # compares as false with everything


def look_at(pixels: NDArray[np.uint8]) -> Look:
    """The look of one tile, H×W×3 RGB.

    Sharpness is the mean second difference along rows over the mean difference of pixels four apart, where there is
    tissue; contrast and stain leave it as it is.
    """
    from histoproto.inference.background import GLASS_BRIGHTNESS  # torch, which the server begins without

    red, green, blue = np.moveaxis(pixels.astype(np.int16), 2, 0)
    least, most = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
    ink = (green - red >= GREEN_INK) | (blue - red >= BLUE_INK) | (red - np.maximum(green, blue) >= RED_INK)
    ink |= (most < BLACK) & (most - least < FLAT)
    tissue = (least < GLASS_BRIGHTNESS) & ~ink
    grey = pixels.mean(axis=2)
    inside = tissue[:, 2:-2]
    second = np.abs(grey[:, 3:-1] - 2 * grey[:, 2:-2] + grey[:, 1:-3])[inside]
    apart = np.abs(grey[:, 4:] - grey[:, :-4])[inside]
    sharpness = float((second.mean() + 0.1) / (apart.mean() + 0.1)) if inside.any() else 1.0
    return Look(float(tissue.mean()), float(ink.mean()), sharpness)


def poor_looks(tiles: Sequence[Tile], looks: Mapping[int, Look]) -> NDArray[np.bool_]:
    """N: whether a tile is mostly glass, ink, or far less sharp than others of its slide; False where it is not known.

    Ink in more than a quarter of all tiles is a dye of the tissue.
    """
    known = [looks.get(tile.id, UNKNOWN) for tile in tiles]
    tissue, ink, sharpness = np.array(known, np.float64).reshape(-1, 3).T
    inked = ink > MOST_INK
    if inked.sum() > INK_AT_MOST * len(tiles):
        inked, tissue = np.zeros_like(inked), tissue + ink
    by_slide: dict[str, list[float]] = {}
    for tile, look in zip(tiles, known, strict=True):
        if look is not UNKNOWN:
            by_slide.setdefault(tile.slide, []).append(look.sharpness)
    usual = {slide: float(np.median(values)) for slide, values in by_slide.items() if len(values) >= FEW}
    blurred = sharpness < BLURRED * np.array([usual.get(tile.slide, np.nan) for tile in tiles])
    return np.asarray(inked | (tissue < LEAST_TISSUE) | blurred)
