"""What all synthetic regions of one slide share, and how amounts of stain become colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float32]

_MACENKO = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
"""Haematoxylin and eosin: optical density per RGB channel, of unit length (Macenko et al., ISBI 2009)."""


@dataclass(frozen=True)
class Slide:
    """The stain and light of a slide.

    Attributes:
        stains: 2 × 3, rows haematoxylin and eosin: natural optical density per RGB channel, of unit length.
        amounts: 2, how strongly each of them is stained.
        light: 3, RGB of empty glass, 0 to 255.
        blur: radius of the optics in µm.
        noise: standard deviation of the camera in grey levels.
    """

    stains: Array
    amounts: Array
    light: Array
    blur: float
    noise: float


def draw_slide(rng: np.random.Generator) -> Slide:
    """A slide at random: laboratories differ in the hue of both stains, in their amounts (± 30 %) and in light."""
    stains = _MACENKO + rng.normal(0, 0.05, (2, 3))
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    amounts, light = rng.uniform(0.7, 1.3, 2), rng.uniform(236, 248) + rng.normal(0, 2, 3)
    blur, noise = float(rng.uniform(0.3, 0.7)), float(rng.uniform(1, 3))
    return Slide(stains.astype(np.float32), amounts.astype(np.float32), light.astype(np.float32), blur, noise)


def develop(haematoxylin: Array, eosin: Array, slide: Slide, mpp: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Two H × W maps of stain amount as H × W × 3 RGB: light · exp(−amounts · stains), blurred, with noise."""
    density = np.stack([haematoxylin, eosin], axis=-1) * slide.amounts @ slide.stains
    colour = slide.light * np.exp(-density)
    colour = gaussian_filter(colour, (slide.blur / mpp, slide.blur / mpp, 0))
    colour += rng.normal(0, slide.noise, colour.shape).astype(np.float32)
    return np.asarray(np.clip(colour + 0.5, 0, 255), dtype=np.uint8)
