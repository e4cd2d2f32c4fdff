"""The teacher's dense features of every training patch, computed once before training.

The teacher is frozen and sees patches as they are (stain jitter must not change what a tissue *is*), so its features
can be read from a memory-mapped file instead of being computed in every epoch; turns and flips are applied to them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch.utils.data import DataLoader

from histoproto.data.dataset import PatchDataset
from histoproto.errors import OutputError
from histoproto.files import replace_atomically
from histoproto.model.teachers import Teacher


def write_teacher_maps(dataset: PatchDataset, teacher: Teacher, path: Path, device: torch.device, workers: int) -> None:
    """Write N×D×h×w float16 features of a dataset without augmentation to a `.npy`; nothing if the file is there.

    Raises:
        OutputError: the file cannot be written, for instance because the disk is full.
    """
    if path.exists():
        return
    teacher = teacher.to(device)
    loader = DataLoader(dataset, batch_size=32, num_workers=workers)
    with replace_atomically(path) as temporary:
        out: np.memmap[tuple[int, ...], np.dtype[np.float16]] | None = None
        done = 0
        for batch in track(loader, description="teacher features", transient=True):
            features = teacher.dense(batch["image"].to(device)).to("cpu", torch.float16).numpy()
            if out is None:
                shape = (len(dataset), *features.shape[1:])
                try:
                    out = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
                except OSError as error:
                    size = 2 * np.prod(shape) / 2**30
                    raise OutputError(f"{path} ({size:.1f} GiB) cannot be written: {error}") from error
            out[done : done + len(features)] = features
            done += len(features)
        if out is not None:
            out.flush()
    teacher.to("cpu")
