from __future__ import annotations

import math

from histoproto.slides.export.areas import AreaRow, if_empty


def test_regions_without_a_pixel_are_told() -> None:
    rows = [AreaRow("slide", "a", 0, 0, 0), AreaRow("slide", "background", 9, math.nan, 1)]
    rows += [AreaRow(f"{index} x", "a", index // 2, 0, 0) for index in range(4)]
    assert if_empty(rows) == ("no pixel of the map lies in the regions 0 x, 1 x",)
    assert if_empty(rows[:2]) == ()
