"""Augmentations that keep image labels true: turns, flips and changes of stain. Functions of a random generator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


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
    """Scale the optical density −log(I / 255) of each colour channel by its own factor from [1 − amount, 1 + amount].

    Density is what a stain adds to (Beer–Lambert), so white stays white. A power of the intensity does the same as
    scaling its density, so one 256-entry table per channel is enough.

    Args:
        image: H×W×3 RGB.
        amount: ≥ 0; 0 returns the image as it is.
        rng: source of the three factors.
    """
    if amount == 0:
        return image
    factors = rng.uniform(max(0.0, 1 - amount), 1 + amount, size=3)
    table = np.rint(255 * np.linspace(0, 1, 256)[:, None] ** factors).astype(np.uint8)
    return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1)
