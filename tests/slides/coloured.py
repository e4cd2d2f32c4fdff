"""Slides of smooth colour, which the network of colours labels as one can see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Pixels = NDArray[np.uint8]


SIZE = 64


def blobs(height: int, width: int, seed: int = 0) -> Pixels:
    """Smooth spots of all colours."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width, 3)), (25, 25, 0))
    return (255 * (noise - noise.min()) / max(np.ptp(noise), 1e-9)).astype(np.uint8)
