"""Small pictures for people: activations over tissue, outlines, and images inside HTML."""

from __future__ import annotations

import base64
import io

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from histoproto.inference.overlay import outlines

RGB = NDArray[np.uint8]
"""H×W×3, 0 … 255."""


def heat(image: RGB, activation: NDArray[np.floating]) -> RGB:
    """An activation (H×W in [0, 1]) over a grey image: the stronger, the more of the colour is seen."""
    grey = image.mean(axis=2, keepdims=True) * 0.6 + 80
    colour = matplotlib.colormaps["inferno"](activation)[..., :3] * 255
    weight = 0.15 + 0.75 * activation[..., None]
    blended: RGB = np.clip(grey * (1 - weight) + colour * weight, 0, 255).astype(np.uint8)
    return blended


def stretch(maps: NDArray[np.floating], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Maps (C×H×W) of the tissues that are `present` (C) to [0, 1], all by the same factor; the others become 0."""
    stretched = np.zeros(maps.shape)
    if present.any():
        low, high = maps[present].min(), maps[present].max()
        stretched[present] = (maps[present] - low) / max(high - low, 1e-12)
    return stretched


def draw_outline(image: RGB, mask: NDArray[np.bool_], colour: NDArray[np.uint8], fade: float = 0.5) -> RGB:
    """The image with the outline of a region (H×W) drawn two pixels wide, and what lies outside faded to white."""
    drawn = image.copy()
    drawn[~mask] = np.round(image[~mask] * (1 - fade) + 255 * fade)
    drawn[ndimage.binary_dilation(outlines(mask.astype(np.uint8)))] = colour
    return drawn


def enlarge(maps: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    """A small map (h×w) at the size of its image, bilinear."""
    source = Image.fromarray(np.asarray(maps, dtype=np.float32), mode="F")
    return np.asarray(source.resize((width, height), Image.Resampling.BILINEAR))


def shrink(picture: RGB, side: int, exact: bool = False) -> RGB:
    """The picture with no side longer than `side`, in proportion; `exact` keeps its colours (nearest neighbour)."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.NEAREST if exact else Image.Resampling.LANCZOS)
    return np.asarray(image)


def data_uri(picture: RGB, exact: bool = False) -> str:
    """A picture as the `src` of an `<img>`: JPEG for tissue, PNG where colours must stay `exact` (masks)."""
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    if exact:
        # A mask has few colours: a palette makes it several times smaller.
        image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=85)
    return f"data:image/{'png' if exact else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"
