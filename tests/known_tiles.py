"""Tiles in groups that are easily told apart, for tests of what is chosen among them."""

from __future__ import annotations

import numpy as np

from histoproto.studio.queue import Known
from histoproto.studio.space import Space

TISSUES = ("tumour", "stroma")


def known_of(count: int = 200, groups: int = 4, slides: int = 2, labels: int = 0) -> Known:
    """Tiles in tight groups; group g has tumour if g is even, stroma if it is odd."""
    rng = np.random.default_rng(0)
    group = np.arange(count) % groups
    embeddings = np.eye(groups, 16)[group] + 0.05 * rng.normal(size=(count, 16))
    ticks = np.full((count, 2), -1, np.int8)
    ticks[:labels] = np.stack([group % 2 == 0, group % 2 == 1], axis=1)[:labels]
    return Known(
        Space(embeddings),
        rng.integers(slides, size=count),
        np.arange(count) % 5 == 4,
        np.zeros(count, np.bool_),
        np.arange(count) < labels,
        ticks,
        None,
        TISSUES,
        [f"slide {i}" for i in range(slides)],
    )
