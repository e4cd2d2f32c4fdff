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


ERROR_COLOURS = {
    "right": (219, 225, 232),
    "another tissue of the patch": (240, 173, 78),
    "a tissue that is nowhere in the patch, or none": (178, 24, 43),
    "true boundary": (40, 44, 52),
    "not scored": (255, 255, 255),
}
"""What the colours of `error_picture` say."""


def error_picture(found: NDArray[np.uint8], truth: NDArray[np.uint8], tissues: int) -> RGB:
    """Where a label map is wrong, and how: an error at a boundary of the truth, or a tissue that is not there at all.

    Args:
        found: H×W, 0 … C − 1 tissue, C background.
        truth: the same; background is not scored.
        tissues: C.

    Returns:
        H×W×3 in `ERROR_COLOURS`.
    """
    right, other, absent, edge, unscored = np.array([*ERROR_COLOURS.values()], dtype=np.uint8)
    there = np.bincount(truth.ravel(), minlength=tissues + 1)[:tissues] > 0
    picture: RGB = np.where((found == truth)[..., None], right, other)
    picture[~np.append(there, False)[found]] = absent
    picture[outlines(truth)] = edge
    picture[truth >= tissues] = unscored
    return picture


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
