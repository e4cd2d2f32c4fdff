"""Rectangles out of an image that is stored in tiles."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

CACHE_BYTES = 2**25


class TileCache:
    """The tiles that were decoded last, as neighbouring regions share them. Threads may share it."""

    def __init__(self, size: int = CACHE_BYTES) -> None:
        self._size, self._used = size, 0
        self._tiles: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, decode: Callable[[], Pixels]) -> Pixels:
        """The tile of that key, decoded if it is not at hand; other threads go on meanwhile."""
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        tile = decode()
        with self._lock:
            if key not in self._tiles:
                self._tiles[key] = tile
                self._used += tile.nbytes
            while self._used > self._size and len(self._tiles) > 1:
                self._used -= self._tiles.popitem(last=False)[1].nbytes
        return tile


def cut_from_tiles(
    tile: Callable[[int, int], Pixels], size: tuple[int, int], left: int, top: int, width: int, height: int
) -> Pixels:
    """A rectangle of an image of tiles.

    Args:
        tile: row and column of a tile → its pixels, h×w×3; at the edge of the image they may be fewer than `size`.
        size: height and width of a tile.
        left, top, width, height: the rectangle, inside the image.

    Returns:
        height × width × 3; white where a tile is missing.
    """
    result = np.full((height, width, 3), 255, dtype=np.uint8)
    high, wide = size
    for row in range(top // high, -(-(top + height) // high)):
        for column in range(left // wide, -(-(left + width) // wide)):
            y, x = row * high - top, column * wide - left  # its corner, seen from that of the rectangle
            part = tile(row, column)[max(-y, 0) : height - y, max(-x, 0) : width - x]
            y, x = max(y, 0), max(x, 0)
            result[y : y + part.shape[0], x : x + part.shape[1]] = part
    return result
