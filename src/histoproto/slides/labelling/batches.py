"""Windows of a slide, gathered into batches for the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoproto.slides.reading.protocol import Pixels


@dataclass(frozen=True)
class Batch:
    """Windows that go through the network together."""

    windows: Pixels
    """N×p×p×3 RGB."""
    tops: NDArray[np.intp]
    """Where they start, in cells."""
    lefts: NDArray[np.intp]
    shares: NDArray[np.float32]
    """Share of tissue in each, in [0, 1]."""

    def part(self, first: int, last: int) -> Batch:
        """Windows first … last − 1."""
        held = slice(first, last)
        return Batch(self.windows[held], self.tops[held], self.lefts[held], self.shares[held])


def in_batches(found: Iterable[Batch | int], size: int) -> Iterator[Batch | int]:
    """Windows of tiles in batches of a size; before a number is handed on, all windows that came before it are."""
    held: list[Batch] = []
    for item in found:
        if isinstance(item, Batch):
            held.append(item)
            if sum(len(batch.windows) for batch in held) < size:
                continue
        if held:
            joined = Batch(
                np.concatenate([batch.windows for batch in held]),
                np.concatenate([batch.tops for batch in held]),
                np.concatenate([batch.lefts for batch in held]),
                np.concatenate([batch.shares for batch in held]),
            )
            count = len(joined.windows)
            full = count if isinstance(item, int) else count // size * size
            yield from (joined.part(start, min(start + size, full)) for start in range(0, full, size))
            held = [joined.part(full, count)] if full < count else []
        if isinstance(item, int):
            yield item
