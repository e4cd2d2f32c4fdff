"""The windows of a slide, and the tiles in which their pixels are read.

Positions are counted in pixels at the scale of the model, or in *cells* of 8 × 8 of them: the grid of the finest
activation map, on which windows are blended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoproto.errors import SettingError
from histoproto.inference.windows import CELL, window_starts
from histoproto.slides.labelling.scope import Scope

TILE_PIXELS = 1024
"""About the side of a tile: what is read at once."""


@dataclass(frozen=True)
class Tile:
    """Neighbouring windows, read together, and the pixels that are theirs alone (the core)."""

    tops: NDArray[np.intp]
    """First row of each needed window, in cells."""
    lefts: NDArray[np.intp]
    core: tuple[int, int, int, int]
    """Top, left, height and width, in pixels."""


@dataclass(frozen=True)
class Plan:
    """Windows that cover a slide, and which of them are needed.

    Attributes:
        height, width: of the slide in pixels at the scale of the model.
        downsample: pixels of level 0 per pixel.
        size: side of a window, in cells.
        tops, lefts: where windows start, in cells, ascending; the last ones may reach beyond the slide by less than a
            cell, or by more if the slide is smaller than a window.
        needed: R×S, whether a window shows any of the scope.
        group: windows along the side of a tile.
    """

    height: int
    width: int
    downsample: float
    size: int
    tops: NDArray[np.intp]
    lefts: NDArray[np.intp]
    needed: NDArray[np.bool_]
    group: int

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width of the slide in cells; at least a window."""
        return int(self.tops[-1]) + self.size, int(self.lefts[-1]) + self.size

    def steps(self) -> Iterator[Tile | int]:
        """Tiles that have needed windows, row by row, and after each row the row of cells at which the next starts."""
        for first in range(0, len(self.tops), self.group):
            tops = self.tops[first : first + self.group]
            last = first + self.group >= len(self.tops)
            end = self.cells[0] if last else int(self.tops[first + self.group])
            yield from self._tiles(first, tops, self.height if last else end * CELL)
            yield end

    def _tiles(self, first: int, tops: NDArray[np.intp], bottom: int) -> Iterator[Tile]:
        for column in range(0, len(self.lefts), self.group):
            lefts = self.lefts[column : column + self.group]
            needed = self.needed[first : first + self.group, column : column + self.group]
            if not needed.any():
                continue
            after = column + self.group
            right = self.width if after >= len(self.lefts) else int(self.lefts[after]) * CELL
            row, place = np.nonzero(needed)
            top, left = int(tops[0]) * CELL, int(lefts[0]) * CELL
            yield Tile(tops[row], lefts[place], (top, left, bottom - top, right - left))


def plan_windows(height: int, width: int, downsample: float, patch_size: int, overlap: float, scope: Scope) -> Plan:
    """Windows of the size of a patch over a slide.

    Args:
        height, width: of level 0, in pixels.
        downsample: pixels of level 0 per pixel at the scale of the model.
        patch_size: side of the model's patches in pixels; rounded up to whole cells.
        overlap: share of a window's side that it has in common with the next, 0 to 0.9.
        scope: windows without any of it are not needed.

    Raises:
        SettingError: an impossible overlap.
    """
    if not 0 <= overlap <= 0.9:
        raise SettingError(f"windows may overlap by 0 to 0.9 of their side, found {overlap}")
    size = -(-patch_size // CELL)
    step = max(1, round(size * (1 - overlap)))
    rows, columns = (max(1, round(side / downsample)) for side in (height, width))
    tops, lefts = (np.array(window_starts(-(-side // CELL), size, step)) for side in (rows, columns))
    margin = CELL * downsample  # pixels next to a window take part of their score from its outermost cells
    edges = [
        edge
        for starts in (tops, lefts)
        for edge in (starts * CELL * downsample - margin, (starts + size) * CELL * downsample + margin)
    ]
    return Plan(
        rows, columns, downsample, size, tops, lefts, scope.touched(*edges), max(1, round(TILE_PIXELS / (step * CELL)))
    )
