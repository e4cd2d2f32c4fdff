from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import shapely

from histoproto.errors import DocumentError, SettingError
from histoproto.slides.measures.measurement import Measurement, Near, measure_map, wanted_of
from histoproto.slides.measures.part import parts_of
from histoproto.slides.measures.table import read_measures, write_measures
from histoproto.slides.regions.geojson import Region
from slides.measures.drawn import disc, raster_of

NAMES = ("tumour", "stroma", "lymphocytes")


def by_title(rows: list[Measurement], region: str = "slide") -> dict[str, float]:
    return {row.title: row.value for row in rows if row.region == region}


def test_a_nest_in_stroma(tmp_path: Path) -> None:
    """Radii in µm: tumour to 100, stroma to 250, lymphocytes to 300."""
    labels = np.full((700, 700), 3, np.uint8)  # 1 µm/px
    for radius, label in ((300, 2), (250, 1), (100, 0)):
        labels[disc(700, 700, 350, 350, radius)] = label
    labels[:5, :5] = 4  # uncertain: nobody's
    regions = [Region(shapely.box(350, 0, 700, 700), "right")]
    with raster_of(labels, tmp_path) as raster:
        rows = measure_map(raster, NAMES, 1.0, parts_of(raster, regions), wanted_of(NAMES))
    tumour, stroma, lymphocytes = (math.pi * area for area in (100**2, 250**2 - 100**2, 300**2 - 250**2))
    for region, part in (("slide", 1.0), ("1 right", 0.5)):
        found = by_title(rows, region)
        assert found["TSR %"] == pytest.approx(100 * stroma / (stroma + tumour), rel=0.002)
        assert found["TILs %"] == pytest.approx(100 * lymphocytes / (stroma + lymphocytes), rel=0.002)
        assert found["stroma within 100 µm of tumour %"] == pytest.approx(100 * (200**2 - 100**2) / 52500, rel=0.02)
        assert found["lymphocytes within 100 µm of tumour %"] == 0
        assert found["interface tumour–stroma mm"] == pytest.approx(part * 0.2 * math.pi, rel=0.02)
        assert found["interface stroma–lymphocytes mm"] == pytest.approx(part * 0.5 * math.pi, rel=0.02)
        assert found["interface tumour–lymphocytes mm"] == 0
        assert [found[f"{name} regions"] for name in NAMES] == [1, 1, 1]
        assert found["tumour region largest mm2"] == pytest.approx(part * tumour / 1e6, rel=0.002)
        assert found["tumour region median mm2"] == found["tumour region largest mm2"]


def test_sizes_are_told_by_their_quantiles(tmp_path: Path) -> None:
    labels = np.full((40, 100), 1, np.uint8)
    for index, side in enumerate((1, 2, 3, 4, 5)):
        labels[5 : 5 + side, 10 * index : 10 * index + side] = 0
    with raster_of(labels, tmp_path) as raster:
        found = by_title(measure_map(raster, ("nest",), 1000.0, parts_of(raster), wanted_of(("nest",))))
    assert found == {
        "nest regions": 5,
        "nest region mean mm2": 11,
        "nest region q25 mm2": 4,
        "nest region median mm2": 9,
        "nest region q75 mm2": 16,
        "nest region largest mm2": 25,
    }


def test_a_share_of_nothing_is_not_known(tmp_path: Path) -> None:
    with raster_of(np.full((20, 20), 3, np.uint8), tmp_path) as raster:
        found = by_title(measure_map(raster, NAMES, 0.5, parts_of(raster), wanted_of(NAMES)))
    assert math.isnan(found["TSR %"])
    assert math.isnan(found["stroma within 100 µm of tumour %"])
    assert found["tumour regions"] == 0
    assert math.isnan(found["tumour region median mm2"])


def test_what_is_measured_by_default_goes_by_the_names() -> None:
    assert wanted_of(NAMES).near == (Near(1, 0, 100.0), Near(2, 0, 100.0))
    assert wanted_of(NAMES).tils == (2, 1)
    nothing = wanted_of(("gland", "stroma"))
    assert (nothing.tsr, nothing.tils, nothing.near) == (None, None, ())
    assert wanted_of(("gland", "stroma"), tsr="gland:stroma").tsr == (0, 1)
    assert wanted_of(NAMES, ["stroma:lymphocytes:5.5"] * 2).near == (Near(1, 2, 5.5),)


@pytest.mark.parametrize("text", ["stroma:tumour", "stroma:tumour:near", "stroma:tumour:0", "stroma:tumour:nan", "100"])
def test_a_distance_that_is_none_is_a_sentence(text: str) -> None:
    with pytest.raises(SettingError, match="--near"):
        wanted_of(NAMES, [text])


def test_the_table_comes_back(tmp_path: Path) -> None:
    rows = [
        Measurement("slide", "within", "=odd, name", "tumour", 100.0, 12.345678901, "%"),
        Measurement("2 Tumor", "regions", "stroma", "", math.nan, 17, ""),
        Measurement("slide", "TSR", "stroma", "tumour", math.nan, math.nan, "%"),
    ]
    write_measures(tmp_path / "m.csv", {"a": rows, "b": rows[:1]})
    found = read_measures(tmp_path / "m.csv")
    assert [len(each) for each in found.values()] == [3, 1]
    for before, after in zip(rows, found["a"], strict=True):
        assert before[:4] == after[:4]
        assert before.unit == after.unit
        assert np.allclose(before[4:6], after[4:6], rtol=1e-8, equal_nan=True)
    (tmp_path / "m.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DocumentError, match="no table of measures"):
        read_measures(tmp_path / "m.csv")
