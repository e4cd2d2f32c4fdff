"""Whether a slide's map will fit on the disk and into memory, asked before work starts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from histoproto.errors import DataError
from histoproto.inference.windows import CELL
from histoproto.slides.labelling.plan import TILE_PIXELS
from histoproto.slides.reading.protocol import SlideReader

FILES = 1.25 + 2 / CELL**2
"""Bytes on disk per pixel of the map, at least: the map, doubt and strangeness while they are being made, and the files
that come of them."""
LAYERS = 4 / CELL**2
"""More of them with doubt and strangeness as layers, two channels in two files."""
HELD = 3
"""Copies of a strip that are held at once: sums, finished scores, and rows that are being written."""
WINDOW_BYTES = 200
"""Held per window that is planned."""


def check_room(reader: SlideReader, downsample: float, channels: int, patch_size: int, step: int, folder: Path) -> None:
    """Refuse a slide whose map is larger than the disk or whose strips are larger than the memory.

    Args:
        reader: the slide, of known scale.
        downsample: pixels of level 0 per pixel of the map.
        channels: maps of a window.
        patch_size, step: of windows, in pixels of the map.
        folder: where the results go; it or one above it is there.

    Raises:
        DataError: there is no room for it.
    """
    height, width = (max(1, round(side / downsample)) for side in (reader.height, reader.width))
    what = f"the map of {reader.path} ({width:,} × {height:,} pixels, if {reader.mpp:.4g} µm/px is right)"
    while not folder.exists():
        folder = folder.parent
    needed, free = int(FILES * height * width), shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(f"No space left for {what}: it needs {_size(needed)} of disk, {folder} has {_size(free)}")
    rows = (TILE_PIXELS + 2 * patch_size) // CELL
    memory = HELD * 4 * (channels + 2) * rows * (width // CELL) + WINDOW_BYTES * (height // step) * (width // step)
    if memory > (most := _memory()):
        raise DataError(f"No memory for {what}: it needs {_size(memory)}, this machine has {_size(most)}")


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.2f} MiB"
