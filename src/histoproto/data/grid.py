"""Where the patches of a region lie, what they hold, and bringing a region to another scale first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def grid_offsets(length: int, size: int, stride: int) -> NDArray[np.intp]:
    """Where patches start along one side: 0, stride, 2·stride, … and one flush with the far edge.

    >>> grid_offsets(300, 128, 96).tolist()
    [0, 96, 172]
    """
    if length < size:
        return np.empty(0, dtype=np.intp)
    return np.unique(np.append(np.arange(0, length - size + 1, stride), length - size))


def tissue_counts(
    labels: NDArray[np.uint8], rows: NDArray[np.intp], columns: NDArray[np.intp], size: int, count: int
) -> NDArray[np.int64]:
    """Pixels of each of `count` tissues in each patch of a label map, as rows × columns × tissues (summed areas)."""
    top, left = rows[:, None], columns[None, :]
    area = np.zeros((labels.shape[0] + 1, labels.shape[1] + 1), dtype=np.int64)
    counts = np.empty((rows.size, columns.size, count), dtype=np.int64)
    for tissue in range(count):  # one at a time: a large region times all tissues would not fit into memory
        np.cumsum(np.cumsum(labels == tissue, axis=0), axis=1, out=area[1:, 1:])
        outer, inner = area[top + size, left + size], area[top, left]
        counts[..., tissue] = outer - area[top, left + size] - area[top + size, left] + inner
    return counts


def rescale(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], factor: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image (antialiased) and label map (nearest) with `factor` pixels for each one along either side."""
    if factor == 1:
        return image, labels
    height, width = (max(1, round(side * factor)) for side in labels.shape)
    image = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    return image, np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
