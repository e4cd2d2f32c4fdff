"""Which windows, in which tiles."""

from __future__ import annotations

import numpy as np
import pytest

from histoproto.inference.windows import CELL
from histoproto.slides.labelling.plan import plan_windows
from histoproto.slides.labelling.scope import MaskScope


@pytest.mark.parametrize("shape", [(1000, 700), (130, 2200), (64, 64), (10, 10)])
def test_tiles_hold_every_window_and_pixel_once(shape: tuple[int, int]) -> None:
    plan = plan_windows(*shape, 1.0, 100, 0.5, MaskScope(np.ones((1, 1), np.bool_), shape))
    assert plan.size * CELL == 104
    pixels = np.zeros(shape, int)
    windows, row, ends = [], -1, []
    for step in plan.steps():
        if isinstance(step, int):
            ends.append(step)
            continue
        top, left, height, width = step.core
        pixels[top : top + height, left : left + width] += 1
        windows += list(zip(step.tops.tolist(), step.lefts.tolist(), strict=True))
        assert step.tops.min() * CELL >= top >= row
        row = top
    assert (pixels == 1).all()
    assert sorted(windows) == [(top, left) for top in plan.tops.tolist() for left in plan.lefts.tolist()]
    assert ends == sorted(ends)
    assert ends[-1] == plan.cells[0] >= -(-shape[0] // CELL)
