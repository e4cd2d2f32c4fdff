"""Of areas that overlap the smaller one counts: painted, and counted, as slowly with shapely."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from histoproto.errors import DataError
from histoproto.slides.regions.drawn import Drawing
from histoproto.slides.regions.geojson import Region
from histoproto.slides.regions.placing import check_places
from histoproto.slides.regions.polygons import count_labels, paint_polygons


def some_polygons(seed: int, count: int) -> list[shapely.Geometry]:
    rng = np.random.default_rng(seed)
    hulls = [shapely.convex_hull(shapely.multipoints(rng.uniform(-10, 60, (6, 2)))) for _ in range(count)]
    return [hull.difference(shapely.Point(20, 20).buffer(4)) for hull in hulls]


def contains(polygon: shapely.Geometry, height: int, width: int, top: float, left: float, scale: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width] + 0.5
    return np.asarray(shapely.contains_xy(polygon, x * scale + left, y * scale + top))


@pytest.mark.parametrize(("top", "left", "scale"), [(0, 0, 1.0), (-3, 7, 1.0), (5, 2, 0.7)])
def test_what_is_cut_out_is_outside(top: float, left: float, scale: float) -> None:
    for seed in range(10):
        polygons = some_polygons(seed, 5)
        cut_out = [index % 2 == 1 for index in range(5)]
        expected = np.zeros((30, 40), np.bool_)
        for index in sorted(range(5), key=lambda index: -polygons[index].area):
            expected[contains(polygons[index], 30, 40, top, left, scale)] = not cut_out[index]
        drawing = Drawing(polygons, cut_out)
        assert np.array_equal(drawing.inside(30, 40, top, left, scale), expected)
        union = contains(shapely.union_all(polygons), 30, 40, top, left, scale)
        assert np.array_equal(Drawing(polygons, [False] * 5).inside(30, 40, top, left, scale), union)


def test_labels_are_counted_in_each_polygon() -> None:
    labels = np.random.default_rng(0).integers(-1, 3, (40, 50)).astype(np.int16)
    polygons = [*some_polygons(3, 6), shapely.box(60, 60, 70, 70)]
    counts = count_labels(labels[9:22], 3, polygons, top=9)
    for polygon, found in zip(polygons, counts, strict=True):
        inside = labels[9:22][contains(polygon, 40, 50, 0, 0, 1)[9:22]]
        assert found.tolist() == [(inside == label).sum() for label in range(3)]


def test_the_last_one_stays_on_top_however_much_is_painted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    polygons, values = some_polygons(5, 30), np.arange(30, dtype=np.uint8)
    expected = np.full((40, 50), 99, np.uint8)
    for polygon, value in zip(polygons, values, strict=True):
        expected[contains(polygon, 40, 50, 0, 0, 1)] = value
    for at_once in (1 << 22, 100):
        monkeypatch.setattr("histoproto.slides.regions.polygons.AT_ONCE", at_once)
        labels = np.full((40, 50), 99, np.uint8)
        paint_polygons(labels, polygons, values)
        assert np.array_equal(labels, expected)


def test_regions_that_lie_elsewhere() -> None:
    def check(*boxes: tuple[float, ...], mpp: float = 1.0) -> list[str]:
        return check_places([Region(shapely.box(*box), None) for box in boxes], 1000, 800, mpp, Path("s.geojson"))

    assert check((10, 10, 20, 20), (-5, -5, 2, 2)) == []
    assert check((10, 10, 20, 20), (-5, -5, 0, 0)) == ["1 of 2 annotations of s.geojson lie outside of the slide"]
    with pytest.raises(DataError, match=r"all 1 annotations of s\.geojson lie outside"):
        check((1000, 10, 1200, 20))
    with pytest.raises(DataError, match="below 1, expected pixels"):
        check((0.1, 0.2, 0.3, 0.9))
    (said,) = check((10, 10, 240, 150), mpp=0.25)
    assert said.startswith("all annotations of s.geojson lie in the upper left 250 × 200 px")
    assert check((10, 10, 260, 150), mpp=0.25) == []
