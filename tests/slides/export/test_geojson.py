from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from histoproto.data.masks import read_mask
from histoproto.data.phantom import TISSUES, phantom_region
from histoproto.data.phantom_slide import draw_slide
from histoproto.errors import DataError, HistoProtoError, OutputError
from histoproto.slides.export import write_geojson
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.regions.geojson import read_geojson
from histoproto.slides.regions.polygons import fill_polygons
from histoproto.tissue import TissueSet
from places import REAL

Labels = NDArray[np.uint8]
LUAD = REAL / "luad"


def as_raster(path: Path, labels: Labels) -> LabelRaster:
    raster = LabelRaster.create(path / "labels", *labels.shape)
    raster.write(0, 0, labels)
    return raster


def drawn_again(path: Path, shape: tuple[int, int], tissues: TissueSet, downsample: float = 1.0) -> Labels:
    """The label map that the outlines of a file show."""
    labels = np.full(shape, tissues.background_index, np.uint8)
    for geometry, name in read_geojson(path):
        assert geometry.is_valid
        assert name is not None
        scaled = shapely.transform(geometry, lambda xy: xy / downsample)
        labels[fill_polygons([scaled], *shape)] = tissues.index(name)
    return labels


def phantom_labels(side: int = 900, mpp: float = 0.5) -> Labels:
    rng = np.random.default_rng(0)
    _, mask = phantom_region(rng, side, side, draw_slide(rng), mpp=mpp)
    return mask


def test_outlines_of_a_phantom_show_its_label_map(tmp_path: Path) -> None:
    labels = phantom_labels()
    raster = as_raster(tmp_path, labels)
    path = tmp_path / "tissue.geojson"
    count = write_geojson(path, raster, TISSUES, downsample=2.0, mpp=0.5)
    assert count == len(read_geojson(path))
    assert (drawn_again(path, labels.shape, TISSUES, 2.0) == labels).mean() >= 0.99
    size = path.stat().st_size
    write_geojson(path, raster, TISSUES, downsample=2.0, mpp=0.5, tolerance_um=0)
    assert np.array_equal(drawn_again(path, labels.shape, TISSUES, 2.0), labels)
    assert size < 0.5 * path.stat().st_size


@pytest.mark.skipif(not LUAD.is_dir(), reason="the real regions are not here")
def test_outlines_of_real_tissue_show_its_label_map(tmp_path: Path) -> None:
    tissues = TissueSet.read(LUAD / "classes.yaml")
    agree = []
    # Drawn by hand, pixel by pixel: more ragged than what a model says.
    for mask in sorted((LUAD / "eval" / "mask").iterdir())[:6]:
        labels = read_mask(mask, tissues)
        raster = as_raster(tmp_path, labels)
        path = tmp_path / "tissue.geojson"
        write_geojson(path, raster, tissues, downsample=1.0, mpp=0.5)
        agree.append(drawn_again(path, labels.shape, tissues) == labels)
        write_geojson(path, raster, tissues, downsample=1.0, mpp=0.5, tolerance_um=0)
        assert np.array_equal(drawn_again(path, labels.shape, tissues), labels)
    assert np.concatenate([pixels.reshape(-1) for pixels in agree]).mean() >= 0.99


def test_many_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tissues = TissueSet.of(*(f"tissue {i}" for i in range(40)))
    labels = rng.integers(0, 41, (9, 12), np.uint8).repeat(20, 0).repeat(20, 1)
    write_geojson(tmp_path / "a.geojson", as_raster(tmp_path, labels), tissues, 1.0, 0.5)
    assert (drawn_again(tmp_path / "a.geojson", labels.shape, tissues) == labels).mean() >= 0.99


def test_what_qupath_reads(tmp_path: Path) -> None:
    tissues = TissueSet.of("tumour", "Gewebe „ä“")
    labels = np.full((4, 6), 2, np.uint8)
    labels[1:3, 2:5] = 1
    path = tmp_path / "tissue.geojson"
    arguments: dict[str, Any] = dict(downsample=4.0, mpp=2.0, origin=(100, 200))
    write_geojson(path, as_raster(tmp_path, labels), tissues, **arguments)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    (feature,) = content["features"]
    assert feature["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "Gewebe „ä“", "color": [0x2C, 0xA0, 0x2C]},
        "isLocked": True,
    }
    assert shapely.from_geojson(json.dumps(feature["geometry"])).equals(shapely.box(108, 204, 120, 212))
    write_geojson(tmp_path / "tissue.geojson.gz", as_raster(tmp_path, labels), tissues, gzip=True, **arguments)
    assert gzip.decompress((tmp_path / "tissue.geojson.gz").read_bytes()) == path.read_bytes()
    assert read_geojson(tmp_path / "tissue.geojson.gz")[0].classification == "Gewebe „ä“"


def test_nothing_but_glass_and_a_single_pixel(tmp_path: Path) -> None:
    tissues = TissueSet.of("tumour")
    path = tmp_path / "a.geojson"
    assert write_geojson(path, as_raster(tmp_path, np.ones((3, 3), np.uint8)), tissues, 1.0, 0.5) == 0
    assert json.loads(path.read_text(encoding="utf-8"))["features"] == []
    with pytest.raises(DataError, match=r"a\.geojson holds no polygons"):
        read_geojson(path)
    raster = as_raster(tmp_path, np.zeros((1, 1), np.uint8))
    assert write_geojson(path, raster, tissues, 1.0, 0.5) == 1
    assert read_geojson(path)[0].geometry.equals(shapely.box(0, 0, 1, 1))


def test_an_unwritable_place_is_one_sentence(tmp_path: Path) -> None:
    raster = as_raster(tmp_path, np.zeros((3, 3), np.uint8))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        write_geojson(tmp_path / "file" / "a.geojson", raster, TISSUES, 1.0, 0.5)


SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]}
PAIR = {"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"], [[[6, 0], [8, 0], [8, 2], [6, 0]]]]}
BOW = {"type": "Polygon", "coordinates": [[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]}


def feature(geometry: Any, classification: Any = None) -> dict[str, Any]:
    properties = {"objectType": "annotation", "classification": classification}
    return {"type": "Feature", "id": "1", "geometry": geometry, "properties": properties}


@pytest.mark.parametrize(
    ("content", "areas", "names"),
    [
        (
            {"type": "FeatureCollection", "features": [feature(SQUARE, {"name": "Tumor", "color": [200, 0, 0]})]},
            [16],
            ["Tumor"],
        ),
        ([feature(SQUARE, {"names": ["Immune cells", "CD3"]}), feature(PAIR)], [16, 18], ["Immune cells: CD3", None]),
        (feature(SQUARE, "Stroma"), [16], ["Stroma"]),
        (PAIR, [18], [None]),
        (
            {"type": "GeometryCollection", "geometries": [SQUARE, {"type": "Point", "coordinates": [1, 2]}]},
            [16],
            [None],
        ),
        ([feature(BOW), feature({"type": "Point", "coordinates": [1, 2]}), feature(None)], [8], [None]),
    ],
)
def test_forms_of_regions(tmp_path: Path, content: Any, areas: list[float], names: list[str | None]) -> None:
    path = tmp_path / "regions.geojson"
    path.write_text(json.dumps(content), encoding="utf-8")
    regions = read_geojson(path)
    assert [geometry.area for geometry, _ in regions] == areas
    assert [name for _, name in regions] == names
    assert all(geometry.is_valid for geometry, _ in regions)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no JSON"),
        (b"\xff\xfe\x00", "is not UTF-16"),
        (b"\x1f\x8b\x08\x00", "is a damaged gzip file"),
        (b"3", "expected a FeatureCollection"),
        (b'{"type": "FeatureCollection"}', "expected a FeatureCollection"),
        (b'["a"]', "expected a FeatureCollection"),
        (b'{"no": "geometry"}', "is not GeoJSON"),
        (b'[{"type": "Feature"}]', "the only feature has no geometry"),
        (b'{"type": "Polygon", "coordinates": [[["a", 0], [1, 0], [1, 1]]]}', "a ring that is no list of points"),
        (
            b'{"type": "Polygon", "coordinates": [[[NaN, 0], [1, 0], [1, 1], [NaN, 0]]]}',
            "coordinates that are not finite",
        ),
        (b'{"type": "Polygon", "coordinates": [[[0, 0], [1, 0]]]}', "no polygons but 1 points, lines or empty"),
        (b'{"type": "Circle"}', "has the type 'Circle', which GeoJSON does not know"),
        (b"[]", "holds no polygons"),
        (b'{"type": "Point", "coordinates": [1, 2]}', "holds no polygons"),
    ],
)
def test_what_is_no_region_ends_in_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "regions.geojson"
    path.write_bytes(content)
    with pytest.raises(HistoProtoError, match=sentence) as error:
        read_geojson(path)
    assert str(path) in str(error.value)
    with pytest.raises(HistoProtoError, match="cannot be read"):
        read_geojson(tmp_path / "missing.geojson")
