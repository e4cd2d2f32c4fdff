"""The rules of QuPath, each with exact areas: what is an annotation, what its class is, what its outline encloses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from histoproto.errors import DataError
from histoproto.slides.regions.geojson import read_annotations


def box(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def polygon(*rings: list[list[float]], **more: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings), **more}


def feature(geometry: Any, classification: Any = None, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": "0a1b",
        "geometry": geometry,
        "properties": {"objectType": "annotation", "classification": classification, **properties},
    }


def read(folder: Path, *features: Any) -> Any:
    path = folder / "s.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return read_annotations(path)


SQUARE = polygon(box(0, 0, 10, 10))


@pytest.mark.parametrize(
    ("geometry", "area"),
    [
        (polygon(box(0, 0, 10, 10), box(2, 2, 4, 4)), 96),
        (polygon(box(0, 0, 10, 10), box(2, 2, 6, 6), box(4, 4, 8, 8)), 100 - 28),  # holes that overlap are one
        (polygon(box(0, 0, 10, 10), box(20, 0, 30, 10)), 100),  # a hole that lies apart
        (polygon(box(0, 0, 10, 10), box(5, 5, 15, 15)), 75),  # and one that lies across
        (polygon(box(0, 0, 10, 10), box(0, 2, 4, 4)), 92),  # at the edge
        (polygon(box(0, 0, 10, 10), box(2, 2, 8, 8), box(4, 4, 6, 6)), 64),  # in another one
        (polygon(box(0, 0, 10, 10)[:-1]), 100),  # not closed
        (polygon([[x, y, 7.0] for x, y in box(0, 0, 10, 10)]), 100),
        (polygon(box(0, 0, 10, 10)[::-1]), 100),  # either direction
        (polygon([[0, 0], [10, 0], [10, 10], [0, 10], [0, 0], [10, 0], [10, 3], [0, 3], [0, 0]]), 100),  # overshot
        (polygon([[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]), 50),  # a bow tie
        (polygon([[0, 0], [10, 0], [10, 10], [4, 10], [4, -2], [0, -2]]), 100 - 40 + 8),  # crosses itself, either way
        ({"type": "MultiPolygon", "coordinates": [[box(0, 0, 8, 8)], [box(4, 4, 12, 12)]]}, 2 * 64 - 16),
        ({"type": "MultiPolygon", "coordinates": [[box(0, 0, 8, 8)], [box(2, 2, 4, 4)]]}, 64),  # one within another
        ({"type": "MultiPolygon", "coordinates": [[box(0, 0, 8, 8), box(2, 2, 4, 4)], [box(9, 0, 10, 1)], []]}, 61),
        ({"type": "GeometryCollection", "geometries": [SQUARE, {"type": "Point", "coordinates": [1, 1]}]}, 100),
        (
            {
                "type": "GeometryCollection",
                "geometries": [{"type": "GeometryCollection", "geometries": [SQUARE]}, polygon(box(5, 0, 15, 10))],
            },
            150,
        ),
    ],
)
def test_an_outline_encloses_what_it_goes_around(tmp_path: Path, geometry: Any, area: float) -> None:
    found = read(tmp_path, feature(geometry, {"name": "Tumor"}))
    assert [(region.geometry.area, region.classification) for region in found.regions] == [(area, "Tumor")]
    assert found.regions[0].geometry.is_valid
    assert found.notes == ()


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}}, "Tumor"),
        ({"object_type": "annotation", "classification": {"name": "Tumor", "colorRGB": -3670016}}, "Tumor"),
        ({"objectType": "annotation", "classification": {"names": ["Tumor", "Positive"]}}, "Tumor: Positive"),
        ({"objectType": "annotation", "classification": "Tumor "}, "Tumor"),
        ({"objectType": "annotation", "name": "Area 1"}, None),  # QuPath's name of one annotation
        (
            {"objectType": "annotation", "name": "Area 1", "isLocked": True, "classification": {"name": "Tumor"}},
            "Tumor",
        ),
        ({"name": "Tumor"}, "Tumor"),  # not from QuPath
        ({"classification": {}}, None),
        (None, None),
    ],
)
def test_forms_of_classes(tmp_path: Path, properties: Any, name: str | None) -> None:
    (region,) = read(tmp_path, {"type": "Feature", "geometry": SQUARE, "properties": properties}).regions
    assert region.classification == name


def test_only_annotations_of_the_first_plane_count(tmp_path: Path) -> None:
    plane = polygon(box(0, 0, 5, 5), plane={"c": -1, "z": 2, "t": 0})
    found = read(
        tmp_path,
        feature(SQUARE, "Tumor"),
        *(feature(SQUARE, "Stroma", objectType="cell") for _ in range(3)),
        feature(SQUARE, "Stroma", objectType="detection"),
        feature(SQUARE, "Stroma", objectType="tile"),
        feature(SQUARE, "Stroma", objectType="tma_core"),
        {"type": "Feature", "id": "PathCellObject", "geometry": SQUARE, "properties": {"classification": "Stroma"}},
        feature(plane, "Tumor"),
        feature({"type": "LineString", "coordinates": [[0, 0], [9, 9]]}, "Tumor"),
        feature(polygon([]), "Tumor"),
        feature(None, "Tumor"),
        feature(polygon(box(0, 0, 1, 1), plane={"c": -1, "z": 0, "t": 0}), "Tumor"),
    )
    assert [(region.geometry.area, region.classification) for region in found.regions] == [(100, "Tumor"), (1, "Tumor")]
    assert found.notes == (
        "left out: 4 cells, 1 detections, 1 tiles, 1 TMA cores, 1 on other planes than the first (z, t), 1 without a "
        "geometry, 2 points, lines or empty outlines",
    )


def test_a_refused_feature_is_named(tmp_path: Path) -> None:
    for wrong, why in (
        (feature(polygon([[0, 0], [1], [2, 2], [0, 0]])), "a ring that is no list of points"),
        (feature(polygon([["0", "0"], ["1", "1"], ["2", "0"]])), "a ring that is no list of points"),
        (feature(polygon(box(0, 0, 1e300, 1))), "coordinates that are not finite, or beyond any slide"),
        (feature({"type": "Circle", "coordinates": [1, 1]}), "has the type 'Circle'"),
        (feature([1]), "its geometry is a list"),
        (feature(polygon(box(0, 0, 1, 1)), 7), "the classification 7, expected a name"),
        ({"type": "Feature", "geometry": SQUARE, "properties": []}, "its properties are no object"),
    ):
        with pytest.raises(DataError, match=f"feature 2 of 3 .*{why}"):
            read(tmp_path, feature(SQUARE), wrong, feature(SQUARE))
    with pytest.raises(DataError, match="holds no polygons but 2 cells; expected annotations"):
        read(tmp_path, *[feature(SQUARE, "Tumor", objectType="cell")] * 2)


@pytest.mark.parametrize("name", ["tu\x1b[31mmour", "tumour\x07", "tu\x9b31mmour"])
def test_names_that_cannot_stand_in_a_table_are_refused_before_any_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"feature 2 of 2 cannot be used: the classification is .*; rename it"):
        read(tmp_path, feature(SQUARE, {"name": "stroma"}), feature(SQUARE, {"name": name}))


def test_two_spellings_of_a_letter_are_one_class_and_a_coordinate_system_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, feature(SQUARE, {"name": "Dru\u0308se"}), feature(SQUARE, {"name": "Dr\u00fcse"}))
    assert {region.classification for region in found.regions} == {"Dr\u00fcse"}
    content = {"type": "FeatureCollection", "crs": {"type": "name"}, "features": [feature(SQUARE)]}
    (tmp_path / "s.geojson").write_text(json.dumps(content))
    assert read_annotations(tmp_path / "s.geojson").notes == (
        "its coordinate system (crs) is not read: pixels are expected",
    )
