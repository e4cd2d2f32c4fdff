"""Who has which tile in hand, so that nobody else is given it."""

from __future__ import annotations

import time
from collections.abc import Iterable

SECONDS = 600.0
"""How long a tile that somebody was given is not given to anybody else."""


class Claims:
    """Tiles in hand; forgotten when the server ends."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[str, float]] = {}

    def give(self, who: str, tiles: Iterable[int]) -> None:
        """Note that somebody was given these tiles now."""
        now = time.monotonic()
        self._of.update({tile: (who, now) for tile in tiles})

    def of_others(self, who: str) -> set[int]:
        """Tiles that somebody else has in hand."""
        since = time.monotonic() - SECONDS
        return {tile for tile, (by, when) in self._of.items() if by != who and when > since}
