from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely

from histoproto.slides.measures.part import NOTHING, if_few, parts_of
from histoproto.slides.regions.geojson import Region
from slides.measures.drawn import raster_of


def test_regions_are_parts_and_what_is_cut_out_is_not(tmp_path: Path) -> None:
    labels = np.zeros((60, 80), np.uint8)
    regions = [
        Region(shapely.box(20, 20, 80, 60), "Tumor"),
        Region(shapely.box(40, 30, 50, 40), "Ignore*"),
        Region(shapely.box(500, 500, 600, 600), None),
    ]
    with raster_of(labels, tmp_path) as raster:
        whole, tumour, outside = parts_of(raster, regions, downsample=2.0)
        assert [each.name for each in (whole, tumour, outside)] == ["slide", "1 Tumor", "3 region"]
        wanted = np.full((60, 80), NOTHING, np.uint8)
        wanted[10:30, 10:40] = 0
        wanted[15:20, 20:25] = NOTHING
        found = np.full((60, 80), NOTHING, np.uint8)
        place = slice(tumour.left, tumour.left + tumour.width)
        top = tumour.top
        for block, rows in tumour.strips(raster, 7, 2):
            assert rows <= len(block) <= rows + 2
            found[top : top + len(block), place] = block
            top += rows
        assert np.array_equal(found, wanted)
        assert outside.height * outside.width == 0
        assert sum(rows for _, rows in whole.strips(raster, 7, 2)) == 60


def test_very_many_regions_are_measured_only_when_asked() -> None:
    region = Region(shapely.box(0, 0, 9, 9), None)
    assert if_few([region] * 1000) == ([region] * 1000, ())
    kept, notes = if_few([region] * 1001)
    assert not kept
    assert "1001 regions are not in measures.csv" in notes[0]
