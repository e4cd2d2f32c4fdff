"""What the page is told of a tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoproto.studio.records import Label, Tile


def described(
    tile: Tile, label: Label | None, guess: dict[str, float] | None, round: int, kind: str, reason: str
) -> dict[str, Any]:
    """Where it is, what stands, what the model of a round guesses, and why it is asked for, as JSON has it."""
    return {
        "tile": tile.id,
        "slide": tile.slide,
        "x": tile.x,
        "y": tile.y,
        "side": tile.side,
        "checks": tile.checks,
        "kind": kind,
        "reason": reason,
        "guess": guess,
        "round": round,
        "label": label and {"verdict": label.verdict, "ticks": label.ticks, "who": label.who},
    }


def named(chances: NDArray[np.float32], names: Sequence[str]) -> dict[str, float]:
    """The chance of each tissue (C), by name."""
    return {name: round(chance, 3) for name, chance in zip(names, chances.tolist(), strict=True)}
