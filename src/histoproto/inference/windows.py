"""Large images in overlapping windows, blended with weights that sum to one everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

CELL = 8
"""Pixels along the side of a cell of the grid on which windows are blended: that of the finest activation map."""
OVERLAP = 0.75
"""Share of its side that a window has in common with the next, by default: each pixel is seen by sixteen of them.
docs/decisions/maps.md says what less costs."""


class Window(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def window_grid(height: int, width: int, size: int, stride: int) -> list[Window]:
    """Windows that cover an image: at 0, stride, 2·stride, … and one flush with the far edge, in both directions.

    Windows are `size` × `size`, or as large as the image where it is smaller.

    >>> [window.left for window in window_grid(10, 25, size=10, stride=6)]
    [0, 6, 12, 15]
    """
    tops, lefts = (window_starts(length, size, stride) for length in (height, width))
    return [Window(top, left, min(size, height), min(size, width)) for top in tops for left in lefts]


def window_starts(length: int, size: int, stride: int) -> list[int]:
    """Where windows start along one side: 0, stride, 2·stride, … and one flush with the far edge."""
    last = max(0, length - size)
    return [*range(0, last, stride), last]


def window_weights(height: int, width: int) -> Tensor:
    """Weights of a window's pixels, height × width: half a wave of a sine along either side, in (0, 1], never 0.

    They vanish towards the edges, so that a window that begins or ends changes nothing abruptly.
    """
    rows, columns = (((torch.arange(length) + 0.5) / length * torch.pi).sin() for length in (height, width))
    return rows[:, None] * columns


def blend(predict: Callable[[Sequence[Window]], Tensor], windows: Sequence[Window], batch_size: int) -> Tensor:
    """Weighted mean of what is predicted for overlapping windows of one image.

    Predictions are made `batch_size` windows at a time and summed on the CPU, so that memory on the device does not
    grow with the image.

    Args:
        predict: n windows → n×L×h×w.
        windows: all of one size, covering the image (`window_grid`).
        batch_size: windows per call.

    Returns:
        L×H×W float32 on the CPU: at each pixel the sum of weight × prediction, divided by the sum of the weights.
    """
    height, width = (max(edge) for edge in zip(*((w.top + w.height, w.left + w.width) for w in windows), strict=True))
    weights = window_weights(windows[0].height, windows[0].width)
    total, mass = torch.zeros(()), torch.zeros(height, width)
    for start in range(0, len(windows), batch_size):
        batch = windows[start : start + batch_size]
        predictions = predict(batch).float().cpu()
        if total.ndim == 0:
            total = torch.zeros(predictions.shape[1], height, width)
        for window, prediction in zip(batch, predictions, strict=True):
            total[:, *window.place] += weights * prediction
            mass[window.place] += weights
    return total / mass
