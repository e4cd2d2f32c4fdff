"""Shapes of the pieces of a mosaic."""

from __future__ import annotations

import numpy as np

from histoproto.data.mosaic import random_regions


def test_random_regions_use_every_piece_and_have_smooth_borders() -> None:
    rng = np.random.default_rng(0)
    used = []
    for count in (2, 3, 4) * 20:
        regions = random_regions(count, 64, rng).numpy()
        assert regions.shape == (64, 64)
        used.append(len(np.unique(regions)) / count)
        changes = (np.diff(regions, axis=0) != 0).sum() + (np.diff(regions, axis=1) != 0).sum()
        assert changes < 0.2 * 64 * 64  # of independent pixels it would be more than 1
    assert np.mean(used) > 0.9
