from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile

from fakes import ColourNetwork, colour_card
from histoproto.data.images import write_image
from histoproto.errors import DataError, DocumentError, HistoProtoError, ImageError, OutputError, SettingError
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.measures.table import read_measures
from histoproto.slides.measuring import measure_results
from histoproto.slides.options import SlideOptions
from histoproto.slides.segment import segment_slide
from histoproto.slides.task import SlideTask


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides, red on the left and green on the right, 1 µm/px."""
    folder = tmp_path_factory.mktemp("measuring")
    image = np.full((256, 1100, 3), (200, 20, 20), np.uint8)
    image[:, 600:] = (20, 200, 20)
    segmenter = Segmenter(ColourNetwork(), colour_card(), device="cpu")  # type: ignore[arg-type]
    for name in ("a", "b"):
        write_image(folder / f"{name}.png", image)
        task = SlideTask(folder / f"{name}.png", 0.5)
        segment_slide(segmenter, task, folder / "maps" / name, SlideOptions(background="none", model_mpp=1.0))
    return folder / "maps"


@pytest.fixture
def maps(segmented: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(segmented, tmp_path / "maps"))


def test_what_segment_writes_is_measured_again(maps: Path, tmp_path: Path) -> None:
    """The map comes back from its file, and the same numbers with it."""
    measured, notes = measure_results(maps, tmp_path / "all.csv")
    assert list(measured) == ["a", "b"]
    assert not notes
    assert (maps / "a" / "measures.csv").read_text().splitlines()[1:] == [
        line for line in (tmp_path / "all.csv").read_text().splitlines() if line.startswith("a,")
    ]
    assert list(measure_results(maps / "a", tmp_path / "one.csv")[0]) == ["a"]


def test_nearness_and_regions_of_the_user(maps: Path, tmp_path: Path) -> None:
    """Coordinates of regions are pixels of the full resolution, two to a pixel of the map."""
    labels = tifffile.imread(maps / "a" / "tissue.ome.tif")
    assert labels.shape == (128, 550)
    border = int((labels[64] == 0).sum())
    assert abs(border - 300) < 8
    for name in ("a", "b"):
        (tmp_path / f"{name}.geojson").write_text(shapely.to_geojson(shapely.box(2 * border - 200, 20, 1000, 120)))
    options: dict[str, Any] = {"near": ["green:red:50"], "tsr": "red:green", "regions": tmp_path}
    measured, _ = measure_results(maps, tmp_path / "m.csv", **options)
    found = {(row.region, row.measure): row for row in measured["a"] if row.measure in ("TSR", "within")}
    assert found["slide", "TSR"].value == pytest.approx(100 * (550 - border) / 550, abs=0.5)
    assert found["slide", "within"].value == pytest.approx(100 * 50 / (550 - border), rel=0.02)
    assert found["1 region", "TSR"].value == pytest.approx(100 * (500 - border) / (600 - border), abs=1)
    assert found["1 region", "within"].value == pytest.approx(100 * 50 / (500 - border), rel=0.02)
    interfaces = {row.region: row.value for row in measured["a"] if (row.tissue, row.other) == ("red", "green")}
    assert interfaces["slide"] == pytest.approx(0.128, rel=0.03)
    assert interfaces["1 region"] == pytest.approx(0.05, rel=0.05)
    assert read_measures(tmp_path / "m.csv").keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("wrong", "kind", "sentence"),
    [
        ({"near": ["green:pink:50"]}, SettingError, "no tissue 'pink' in this map; it has red, green, blue"),
        ({"near": ["green:red:99999"]}, SettingError, "from 0.1 to 2000"),
        ({"tsr": "red:background"}, SettingError, "no tissue 'background'"),
        ({"tils": "red:red"}, SettingError, "twice"),
        ({"regions": Path("nowhere.geojson")}, DataError, "one file for 2 slides"),
        ({"regions": Path()}, DataError, "no file a.geojson"),
    ],
)
def test_what_is_named_wrongly_is_a_sentence_and_nothing_is_written(
    wrong: dict[str, Any], kind: type[HistoProtoError], sentence: str, maps: Path, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=sentence):
        measure_results(maps, tmp_path / "m.csv", **wrong)
    assert not (tmp_path / "m.csv").exists()


def test_what_is_no_map_is_a_sentence(maps: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.csv"
    with pytest.raises(DataError, match="no folder"):
        measure_results(tmp_path / "nothing", out)
    with pytest.raises(DataError, match="holds no maps"):
        measure_results(maps.parent, out)
    out.write_text("mine")
    with pytest.raises(OutputError, match="not of HistoProto's making"):
        measure_results(maps, out)
    out.unlink()
    path = maps / "b" / "tissue.ome.tif"
    data = path.read_bytes()
    path.write_bytes(data[:3000])
    with pytest.raises(ImageError, match=r"tissue\.ome\.tif"):
        measure_results(maps, out)
    tifffile.imwrite(path, np.zeros((5, 5), np.uint8))
    with pytest.raises(ImageError, match="is not the map"):
        measure_results(maps, out)
    record = json.loads((maps / "b" / "record.json").read_text())
    (maps / "b" / "record.json").write_text(json.dumps({**record, "mpp": "wide"}))
    with pytest.raises(DocumentError, match="mpp"):
        measure_results(maps, out)
    assert not out.exists()


def test_maps_of_other_tissues_and_folders_that_are_not_whole_are_told(maps: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.csv"
    record = json.loads((maps / "b" / "record.json").read_text())
    swapped = [record["tissues"][index] for index in (1, 0, 2)]
    for tissues in (swapped, record["tissues"][:2]):
        (maps / "b" / "record.json").write_text(json.dumps({**record, "tissues": tissues}))
        with pytest.raises(ImageError, match="is not the map"):
            measure_results(maps, out)
    for wrong in ({"mpp": 20.0}, {"downsample": 7.0}, {"mpp": 2.0, "downsample": 4.0}):
        (maps / "b" / "record.json").write_text(json.dumps({**record, **wrong}))
        with pytest.raises(ImageError, match="is not the map"):
            measure_results(maps, out)
    (maps / "b" / "record.json").write_text(json.dumps(record))
    tifffile.imwrite(maps / "b" / "tissue.ome.tif", np.full((128, 550), 9, np.uint8))
    with pytest.raises(ImageError, match="holds the label 9, expected 0 to 4"):
        measure_results(maps, out)
    (maps / "b" / "tissue.ome.tif").unlink()
    shutil.copytree(maps / "a", maps / "c")
    (maps / "c" / "record.json").unlink()
    measured, notes = measure_results(maps, out)
    assert list(measured) == ["a"]
    assert notes == ["b is left out: it has no tissue.ome.tif", "c is left out: it has no record.json"]


def test_that_only_regions_were_segmented_is_said(maps: Path, tmp_path: Path) -> None:
    record = json.loads((maps / "b" / "record.json").read_text())
    (maps / "b" / "record.json").write_text(json.dumps({**record, "regions": "/x/drawn.geojson"}))
    _, notes = measure_results(maps, tmp_path / "m.csv")
    assert notes == ["b: what lies outside of drawn.geojson was not segmented"]
