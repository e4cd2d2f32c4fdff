"""Maps blended in a strip that moves down."""

from __future__ import annotations

import numpy as np
import pytest

from histoproto.slides.labelling.strip import Strip


@pytest.mark.parametrize("halo", [1, 4])
def test_a_constant_map_stays_constant(halo: int) -> None:
    """In strips of any height, for windows on a grid and one flush with the edge."""
    height, width, size, group = 61, 37, 8, 3
    starts = [np.array([*range(0, side - size, 4), side - size]) for side in (height, width)]
    strip = Strip(2, height, width, size, step=4 * group, halo=halo)
    seen = []
    for first in range(0, len(starts[0]), group):
        tops, lefts = np.meshgrid(starts[0][first : first + group], starts[1], indexing="ij")
        scores = np.broadcast_to(np.float32([3, -7])[None, :, None, None], (tops.size, 2, size, size))
        strip.add(tops.ravel(), lefts.ravel(), scores)
        last = first + group >= len(starts[0])
        rows = strip.finish(height if last else int(starts[0][first + group]))
        if rows:
            assert rows.covered.all()
            assert rows.top == max(0, rows.first - halo)
            assert rows.scores.shape[1] == min(height, rows.last + halo) - rows.top
            np.testing.assert_allclose(rows.scores, np.broadcast_to([[[3]], [[-7]]], rows.scores.shape), rtol=1e-5)
            seen += range(rows.first, rows.last)
    assert seen == list(range(height))
