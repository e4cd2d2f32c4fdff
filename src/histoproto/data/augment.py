"""Augmentations that keep image labels true: turns, flips and changes of stain. Functions of a random generator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

GLASS_DENSITY = 0.15
"""Mean optical density up to which a pixel counts as glass."""


def dihedral(image: Tensor, code: int) -> Tensor:
    """One of the eight symmetries of the square on the last two dimensions.

    Args:
        image: … × H × W.
        code: 0 … 7; the low two bits are quarter turns, the third a flip. 0 is the identity.
    """
    if code & 4:
        image = image.flip(-1)
    return image.rot90(code & 3, dims=(-2, -1)) if code & 3 else image


def jitter_stain(image: NDArray[np.uint8], amount: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Scale the optical density of each colour channel by its own factor from [1 − amount, 1 + amount].

    Args:
        image: H×W×3 RGB.
        amount: ≥ 0; 0 returns the image as it is.
        rng: source of the three factors.
    """
    if amount == 0:
        return image
    return scale_density(image, rng.uniform(max(0.0, 1 - amount), 1 + amount, size=3))


def borrow_stain(image: NDArray[np.uint8], other: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Move the stain of an image part of the way to that of another: tissue of one slide in the colours of the next.

    With few slides of a tissue, a network learns their colour instead of the tissue; this takes the colour away. The
    median optical density of tissue pixels is what is moved, per channel, by a random part of the way.

    Args:
        image, other: H×W×3 RGB; if either is almost all glass, the image comes back as it is.
        rng: source of the part.
    """
    own, borrowed = median_density(image), median_density(other)
    if own is None or borrowed is None:
        return image
    return scale_density(image, (borrowed / own) ** rng.random())


def scale_density(image: NDArray[np.uint8], factors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Multiply the optical density −log(I / 255) of each channel (Beer–Lambert: what a stain adds to) by a factor.

    A power of the intensity does just that, so one 256-entry table per channel is enough; white stays white.
    """
    table = np.rint(255 * np.linspace(0, 1, 256)[:, None] ** factors).astype(np.uint8)
    return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1)


def median_density(image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Median optical density of the tissue pixels of H×W×3 RGB, per channel; None if they are fewer than 1 %."""
    density = -np.log((image.reshape(-1, 3) + 1.0) / 256)
    tissue = density.mean(axis=1) > GLASS_DENSITY
    if tissue.mean() < 0.01:
        return None
    return np.asarray(np.median(density[tissue], axis=0)).clip(min=1e-3)
