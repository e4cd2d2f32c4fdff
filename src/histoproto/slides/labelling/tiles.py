"""Pixels of the windows of a slide."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from histoproto.inference.background import glass_mask
from histoproto.inference.windows import CELL
from histoproto.slides.labelling.plan import Plan, Tile
from histoproto.slides.labelling.scope import Scope
from histoproto.slides.reading.protocol import Pixels, SlideReader

MARGIN = 4
"""Pixels around a core that are read for it: glass is found in a smoothed picture."""


class TilePixels(NamedTuple):
    """What is read for a tile."""

    views: Pixels
    """A view of all places of a window, Y×X×3×p×p."""
    rows: NDArray[np.intp]
    """Y of each of the N needed windows."""
    columns: NDArray[np.intp]
    """X of each of them."""
    shares: NDArray[np.float32]
    """N, share of tissue in each of them, in [0, 1]."""
    tissue: NDArray[np.bool_]
    """H×W, which pixels of its core get a label."""
    glass: int
    """Pixels of its core that would get one, were they not as bright as glass."""

    def windows(self, first: int, last: int) -> Pixels:
        """Windows first … last − 1, p×p×3 RGB each; only here are they copied, as they overlap."""
        found = self.views[self.rows[first:last], self.columns[first:last]]
        return np.ascontiguousarray(found.transpose(0, 2, 3, 1))


def read_tile(reader: SlideReader, plan: Plan, scope: Scope, tile: Tile, without_glass: bool) -> TilePixels:
    """Read a tile.

    Args:
        reader: the slide.
        plan: of its windows.
        scope: pixels outside of it get no label.
        tile: one of the plan's.
        without_glass: bright, colourless pixels get no label either.

    Raises:
        ImageError: the slide is damaged there.
    """
    size = plan.size * CELL
    top, left, height, width = tile.core
    above, before = min(MARGIN, top), min(MARGIN, left)
    bottom = max(int(tile.tops.max()) * CELL + size, top + height + MARGIN)
    right = max(int(tile.lefts.max()) * CELL + size, left + width + MARGIN)
    pixels = read_padded(reader, plan, top - above, left - before, bottom - top + above, right - left + before)
    rows, columns = (
        (starts * CELL - start) for starts, start in ((tile.tops, top - above), (tile.lefts, left - before))
    )
    views = np.lib.stride_tricks.sliding_window_view(pixels, (size, size), axis=(0, 1))
    glass = glass_mask(pixels)
    sums = np.zeros((glass.shape[0] + 1, glass.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(glass, axis=0, dtype=np.int32), axis=1, out=sums[1:, 1:])
    inside = sums[rows + size, columns + size] - sums[rows, columns + size] - sums[rows + size, columns]
    shares = 1 - (inside + sums[rows, columns]) / np.float32(size**2)
    tissue = scope.inside(left * plan.downsample, top * plan.downsample, width, height, plan.downsample)
    sought = int(tissue.sum())
    if without_glass:
        tissue &= ~glass[above : above + height, before : before + width]
    return TilePixels(views, rows, columns, shares.astype(np.float32), tissue, sought - int(tissue.sum()))


def read_padded(reader: SlideReader, plan: Plan, top: int, left: int, height: int, width: int) -> Pixels:
    """A region at the scale of the model (not left of or above the slide), reflected at the slide's far edges."""
    high, wide = min(height, plan.height - top), min(width, plan.width - left)
    pixels = reader.read(left * plan.downsample, top * plan.downsample, wide, high, plan.downsample)
    if (high, wide) == (height, width):
        return pixels
    return np.pad(pixels, ((0, height - high), (0, width - wide), (0, 0)), mode="reflect")


def default_readers() -> int:
    """Threads that read: half of the cores, as decoding and the network share them; at most 8."""
    return max(1, min(8, (os.cpu_count() or 2) // 2))
