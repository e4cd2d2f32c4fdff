"""The teacher's dense features of every training patch, computed once before training.

The teacher is frozen and sees patches as they are (stain jitter must not change what a tissue *is*), so its features
can be read from a memory-mapped file instead of being computed in every epoch; turns and flips are applied to them.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch.utils.data import DataLoader

from histoproto.data.dataset import PatchDataset
from histoproto.files import replace_atomically, reserve
from histoproto.model.teachers import Teacher


def write_teacher_maps(dataset: PatchDataset, teacher: Teacher, path: Path, device: torch.device, workers: int) -> None:
    """Write N×D×h×w float16 features of a dataset without augmentation to a `.npy`; nothing if a whole one is there.

    The name must be that of these patches and this teacher alone: features are found again by position.

    Raises:
        OutputError: the file cannot be written, for instance because the disk has no room for it.
    """
    if _is_whole(path, len(dataset)):
        return
    teacher = teacher.to(device)
    loader = DataLoader(dataset, batch_size=32, num_workers=workers)
    with replace_atomically(path, lasting=True) as temporary:
        out: np.memmap[tuple[int, ...], np.dtype[np.float16]] | None = None
        done = 0
        for batch in track(loader, description="teacher features", transient=True):
            features = teacher.dense(batch["image"].to(device)).to("cpu", torch.float16).numpy()
            if out is None:
                out = _map_to_file(temporary, (len(dataset), *features.shape[1:]))
            out[done : done + len(features)] = features
            done += len(features)
        if out is not None:
            out.flush()
    teacher.to("cpu")


def _map_to_file(path: Path, shape: tuple[int, ...]) -> np.memmap[tuple[int, ...], np.dtype[np.float16]]:
    """A new `.npy` in memory, whose space on the disk is taken: else a full disk would end us by a bus error."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        size = file.tell() + 2 * math.prod(shape)
    reserve(path, size)
    return np.lib.format.open_memmap(path, mode="r+")


def _is_whole(path: Path, patches: int) -> bool:
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):  # none, damaged or shorter than it says
        return False
    return bool(found.dtype == np.float16 and found.ndim == 4 and len(found) == patches)
