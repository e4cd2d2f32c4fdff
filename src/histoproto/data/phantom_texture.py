"""Noise with a physical size: the shapes, grain and fibres of synthetic tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

Array = NDArray[np.float32]


class Texture:
    """Random fields on the H × W pixels of a region, float32, of about unit variance; sizes in µm."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int], mpp: float):
        self.rng, self.shape, self.mpp = rng, shape, mpp

    def waves(self, size: float) -> Array:
        """Smooth noise with bumps some `size` µm wide: white noise on knots half as far apart."""
        step = size / self.mpp / 2
        weights = []
        for side in self.shape:
            knots = np.arange(-2, side / step + 3)
            distance = (np.arange(side)[:, None] + 0.5) / step - knots + self.rng.uniform(-0.5, 0.5)
            weight = np.exp(-((distance / 0.75) ** 2) / 2)
            weights.append(weight / np.linalg.norm(weight, axis=1, keepdims=True))
        noise = self.rng.normal(size=(weights[0].shape[1], weights[1].shape[1]))
        return np.asarray(weights[0] @ noise @ weights[1].T, dtype=np.float32)

    def grain(self, size: float) -> Array:
        """Fine noise, smoothed over `size` µm."""
        noise = gaussian_filter(self.rng.standard_normal(self.shape, dtype=np.float32), size / self.mpp)
        return np.asarray(noise / max(noise.std(), 1e-6), dtype=np.float32)

    def fibres(self) -> tuple[Array, Array]:
        """Wavy collagen, and the angle at which its fibres run (radians from the x axis towards y)."""
        turn = self.rng.uniform(0, np.pi)
        y, x = (axis * np.float32(self.mpp) for axis in np.indices(self.shape, dtype=np.float32))
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        across = across + 14 * self.waves(90) + 2.5 * self.waves(25)
        sheet = gaussian_filter(self.rng.standard_normal((256, 256), dtype=np.float32), 1, mode="wrap")
        places = np.stack([across / 1.6, along / 11]) + self.rng.uniform(0, 256, (2, 1, 1))
        noise = sum(
            weight * map_coordinates(sheet, places / scale, order=1, mode="grid-wrap")
            for weight, scale in ((0.6, 1.0), (0.8, 2.7))
        )
        down, right = (
            np.gradient(across, axis=axis) if side > 1 else 0 * across for axis, side in enumerate(self.shape)
        )
        return np.asarray(noise / sheet.std(), dtype=np.float32), np.arctan2(-right, down)
