"""Images to the physical scale of a model, and its results back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resample_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """H×W×3 uint8 RGB at another (height, width); an area average where it shrinks, as in training."""
    method = Image.Resampling.BOX if size[0] < image.shape[0] else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize(size[::-1], method))


def resample_labels(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An H×W label map at another (height, width), by the nearest pixel."""
    return np.asarray(Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST))


def resample_scores(scores: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """C×H×W maps at another (height, width), bilinear."""
    import torch  # not for those who only resample images: it takes seconds to load

    maps = torch.from_numpy(scores)[None]
    return torch.nn.functional.interpolate(maps, size, mode="bilinear", align_corners=False)[0].numpy()
