"""What a user may hand to the `Segmenter`, checked: images, labels, the name of a device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from histoproto.data.images import list_images, read_image
from histoproto.errors import DataError, ImageError, SettingError

Pixels = NDArray[np.uint8]
ImageLike = Pixels | str | Path
Key = TypeVar("Key")

CHUNK_IMAGES = 256
CHUNK_PIXELS = 2**24
CPU_BATCH = 16
"""Patches at once on a CPU. More leave the caches; with fewer, PyTorch on one thread takes a slow path for 1×1
convolutions."""
GPU_PIXELS = 2**22
"""Pixels at once on a GPU, which wants more to do: 85 patches of 224 px."""


def pick_device(name: str) -> torch.device:
    """`auto` or the name of a device → the device.

    Raises:
        SettingError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # `meta` has nothing to give back
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingError(f"there is no device {name!r} here; try auto or cpu") from error
    return device


def best_batch(device: torch.device, side: int) -> int:
    """How many patches of `side` pixels go through a network together; measured in `benchmarks/inference.py`."""
    return CPU_BATCH if device.type == "cpu" else max(CPU_BATCH, GPU_PIXELS // side**2)


def list_inputs(images: ImageLike | Sequence[ImageLike]) -> tuple[list[ImageLike], bool]:
    """The single images of a file, an array, a batch, a folder or a list, and whether only one was meant.

    Raises:
        DataError: a folder without images.
    """
    if isinstance(images, str | Path) and Path(images).is_dir():
        found: list[ImageLike] = [*list_images(Path(images))]
        if not found:
            raise DataError(f"the folder {images} holds no images; give one with PNG, JPEG or TIFF files")
        return found, False
    if isinstance(images, np.ndarray):
        return (list(images), False) if images.ndim == 4 else ([images], True)
    if isinstance(images, str) or not isinstance(images, Sequence):
        return [images], True
    return list(images), False


def as_image(value: ImageLike) -> Pixels:
    """An array (checked) or a file (read) as H×W×3 uint8 RGB.

    Raises:
        ImageError: another type or shape, or a file that cannot be read.
    """
    if isinstance(value, str | Path):
        return read_image(Path(value))
    found: Any = value
    if not isinstance(found, np.ndarray):
        raise ImageError(f"expected an image as a numpy array or a path, found {type(found).__name__}")
    if found.dtype != np.uint8:
        raise ImageError(f"expected uint8 values from 0 to 255, found {found.dtype}; scale and convert with astype")
    if found.ndim != 3 or found.shape[2] != 3 or not found.size:
        raise ImageError(f"expected an RGB image of shape height × width × 3, found shape {found.shape}")
    return value


def check_labels(labels: Any, count: int, tissues: int) -> NDArray[np.bool_]:
    """Labels as count × C bool.

    Raises:
        SettingError: another shape, or values other than 0 and 1.
    """
    rows = np.asarray(labels)
    if rows.shape != (count, tissues) or not np.isin(rows, (0, 1)).all():
        raise SettingError(f"expected labels of 0 and 1 for {count} × {tissues} (images × tissues), found {rows.shape}")
    return rows.astype(np.bool_)


def in_chunks(images: Iterable[tuple[Key, Pixels]]) -> Iterator[list[tuple[Key, Pixels]]]:
    """Images (each with whatever belongs to it) in lists that are worth a batch and fit into memory.

    A list ends at 256 images or 16 million pixels, so that a single huge image is alone.
    """
    chunk: list[tuple[Key, Pixels]] = []
    for key, image in images:
        pixels = sum(other.shape[0] * other.shape[1] for _, other in chunk) + image.shape[0] * image.shape[1]
        if chunk and (len(chunk) == CHUNK_IMAGES or pixels > CHUNK_PIXELS):
            yield chunk
            chunk = []
        chunk.append((key, image))
    if chunk:
        yield chunk
