"""One slide from its file to a folder of results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile

from fakes import ColourNetwork, colour_card
from histoproto.data.images import write_image
from histoproto.errors import DataError, DocumentError, ImageError, OutputError, SettingError
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.export import read_areas, read_probabilities
from histoproto.slides.options import SlideOptions
from histoproto.slides.regions.geojson import read_geojson
from histoproto.slides.segment import segment_slide
from histoproto.slides.task import SlideTask
from slides.coloured import SIZE, blobs


def test_a_folder_of_results(segmenter: Segmenter, tmp_path: Path) -> None:
    image = blobs(300, 400)
    slide = tmp_path / "Schnitt ä 1.png"
    write_image(slide, image)
    (tmp_path / "r.geojson").write_text(shapely.to_geojson(shapely.box(10, 10, 390, 290)))
    seen = []
    options = SlideOptions(probabilities=True, background="none", min_area_um2=0, tolerance_um=0, model_mpp=0.5)
    out = tmp_path / "out" / "Schnitt ä 1"
    summary = segment_slide(
        segmenter, SlideTask(slide, 0.25, tmp_path / "r.geojson"), out, options, lambda *told: seen.append(told)
    )
    names = {path.name for path in out.iterdir()}
    assert names >= {
        "tissue.ome.tif",
        "tissue.geojson",
        "areas.csv",
        "overview.png",
        "record.json",
        "probabilities.zarr",
    }
    assert not [name for name in names if name.startswith(".")]
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    labels = tifffile.imread(out / "tissue.ome.tif")
    assert labels.shape == (summary.height, summary.width) == (150, 200)
    assert summary.mpp == 0.5
    assert (labels[5:145, 5:195] < 3).all()
    assert (labels[:5] == 3).all()
    assert seen[-1] == (summary.windows, summary.windows)
    rows = read_areas(out / "areas.csv")
    assert sum(row.mm2 for row in rows if row.region == "slide" and row.tissue != "background") == pytest.approx(
        140 * 190 * 0.25e-6, rel=1e-3
    )
    assert {row.region for row in rows} == {"slide", "1 region"}
    probabilities = read_probabilities(out / "probabilities.zarr")[:]
    assert probabilities.shape == (3, 19, 25)
    np.testing.assert_allclose(probabilities.astype(int).sum(axis=0)[2:-2, 2:-2], 255, atol=3)
    record = json.loads((out / "record.json").read_text())
    assert record["slide"] == str(slide)
    assert record["settings"]["background"] == "none"
    assert record["windows"] == summary.windows
    with pytest.raises(OutputError, match="is there already"):
        segment_slide(segmenter, SlideTask(slide, 0.25), out, options)


@pytest.mark.parametrize("min_area", [0.0, 250.0])
def test_map_outlines_and_areas_agree(segmenter: Segmenter, min_area: float, tmp_path: Path) -> None:
    """Pixel for pixel; and no hole and no speck is below the least area, in any of the three."""
    image = np.full((256, 320, 3), (200, 20, 20), np.uint8)
    image[:, 200:] = (20, 200, 20)
    image[60:70, 60:70] = image[60:90, 120:150] = 250  # holes of 100 and 900 µm²
    image[200:, :100] = 250  # a corner of glass, and on it a splinter of tissue
    image[230:236, 40:50] = (200, 20, 20)
    write_image(tmp_path / "slide.png", image)
    (tmp_path / "r.geojson").write_text(shapely.to_geojson(shapely.box(0, 0, 320, 256)))
    out = tmp_path / "slide"
    options = SlideOptions(background="glass", min_area_um2=min_area, tolerance_um=0)
    segment_slide(segmenter, SlideTask(tmp_path / "slide.png", 1.0, tmp_path / "r.geojson"), out, options)
    labels = tifffile.imread(out / "tissue.ome.tif")
    rows = {row.tissue: row.pixels for row in read_areas(out / "areas.csv") if row.region == "slide"}
    outlined = dict.fromkeys(("red", "green", "blue"), 0.0)
    for geometry, tissue in read_geojson(out / "tissue.geojson"):
        outlined[str(tissue)] += geometry.area
        assert geometry.area >= min_area
    for index, tissue in enumerate(("red", "green", "blue")):
        assert (labels == index).sum() == rows[tissue] == outlined[tissue]
    assert (labels[62:68, 62:68] == (0 if min_area else 3)).all()
    assert (labels[62:88, 122:148] == 3).all()
    assert (labels[231:235, 42:48] == (3 if min_area else 0)).all()


def test_probabilities_leave_room_for_background(segmenter: Segmenter, tmp_path: Path) -> None:
    write_image(tmp_path / "slide.png", blobs(150, 200))
    options = SlideOptions(probabilities=True, background="activation")
    segment_slide(segmenter, SlideTask(tmp_path / "slide.png", 1.0), tmp_path / "slide", options)
    sums = read_probabilities(tmp_path / "slide" / "probabilities.zarr")[:].astype(int).sum(axis=0)
    assert 0 <= sums.min() < 100 < 200 < sums.max() <= 257


@pytest.mark.parametrize("shape", [(1, 1), (300, 200)])
def test_a_slide_without_tissue(segmenter: Segmenter, shape: tuple[int, int], tmp_path: Path) -> None:
    write_image(tmp_path / "empty.png", np.full((*shape, 3), 245, np.uint8))
    summary = segment_slide(segmenter, SlideTask(tmp_path / "empty.png", 1.0), tmp_path / "out" / "empty")
    assert summary.windows == 0
    assert (tifffile.imread(tmp_path / "out/empty/tissue.ome.tif") == 3).all()
    assert (tmp_path / "out/empty/overview.png").is_file()


def test_what_is_missing_ends_in_one_sentence(segmenter: Segmenter, tmp_path: Path) -> None:
    write_image(tmp_path / "slide.png", blobs(100, 100))
    task, out = SlideTask(tmp_path / "slide.png"), tmp_path / "out" / "slide"
    with pytest.raises(DataError, match="--mpp"):
        segment_slide(segmenter, task, out)
    without = Segmenter(ColourNetwork(), colour_card(SIZE), device="cpu")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="--model-mpp"):
        segment_slide(without, SlideTask(task.path, 0.5), out)
    with pytest.raises(SettingError, match="overlap"):
        segment_slide(segmenter, SlideTask(task.path, 1.0), out, SlideOptions(overlap=1.0))
    with pytest.raises(DocumentError, match=r"none\.geojson"):
        segment_slide(segmenter, SlideTask(task.path, 1.0, tmp_path / "none.geojson"), out)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        segment_slide(segmenter, SlideTask(task.path, 1.0), tmp_path / "file" / "slide")
    assert not out.exists()


def test_a_broken_tile_leaves_nothing_behind(segmenter: Segmenter, tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    resolution = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, blobs(600, 600), tile=(64, 64), photometric="rgb", compression="jpeg", **resolution)
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages.first.dataoffsets[45], file.pages.first.databytecounts[45]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    (tmp_path / "out").mkdir()
    write_image(tmp_path / "mask.png", np.full((10, 10, 3), 255, np.uint8))  # no overview, which would find it sooner
    with pytest.raises(ImageError, match=r"slide\.tif cannot be read near pixel"):
        segment_slide(segmenter, SlideTask(path, regions=tmp_path / "mask.png"), tmp_path / "out" / "slide")
    assert not list((tmp_path / "out").iterdir())


def test_an_interrupt_leaves_nothing_behind(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "slide.png", blobs(300, 300))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_slide(segmenter, SlideTask(tmp_path / "slide.png", 1.0), tmp_path / "out" / "slide", progress=stop)
    assert not (tmp_path / "out").exists()
