from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from histoproto.slides.reading.mosaic import TileCache, cut_from_tiles

Pixels = NDArray[np.uint8]


def test_tiles_are_decoded_once() -> None:
    decoded: list[tuple[int, int]] = []
    image = np.random.default_rng(0).integers(0, 255, (90, 70, 3), dtype=np.uint8)
    cache = TileCache(size=6 * 32 * 32 * 3)

    def tile(row: int, column: int) -> Pixels:
        def decode() -> Pixels:
            decoded.append((row, column))
            return image[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]

        return cache.get((row, column), decode)

    assert np.array_equal(cut_from_tiles(tile, (32, 32), 0, 0, 70, 64), image[:64])
    assert np.array_equal(cut_from_tiles(tile, (32, 32), 40, 10, 20, 50), image[10:60, 40:60])
    assert len(decoded) == 6
    cut_from_tiles(tile, (32, 32), 0, 64, 70, 26)
    assert len(decoded) == 9
    cut_from_tiles(tile, (32, 32), 0, 64, 70, 26)
    assert len(decoded) == 9
    cut_from_tiles(tile, (32, 32), 0, 0, 1, 1)  # long out of the cache
    assert len(decoded) == 10
