"""What is written about one slide, apart from outlines."""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
import openslide
import pytest
import shapely
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from histoproto.errors import DocumentError, OutputError, SettingError
from histoproto.slides.export import (
    AreaRow,
    ProbabilityWriter,
    read_areas,
    read_probabilities,
    slide_areas,
    write_areas,
    write_geojson,
    write_ome_tiff,
    write_overview,
)
from histoproto.slides.export.overview import THUMBNAIL_FILE, area_text, scale_bar, shrink_labels
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.regions.geojson import Region
from histoproto.tissue import TissueSet

Labels = NDArray[np.uint8]
TISSUES = TissueSet.of("tumour", "Stroma „ä“")


def as_raster(folder: Path, labels: Labels) -> LabelRaster:
    raster = LabelRaster.create(folder / "labels", *labels.shape)
    raster.write(0, 0, labels)
    return raster


def blocks(height: int, width: int, side: int = 50) -> Labels:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 3, (-(-height // side), -(-width // side)), np.uint8)
    return small.repeat(side, 0).repeat(side, 1)[:height, :width]


def test_the_pyramid_is_that_of_the_label_map(tmp_path: Path) -> None:
    labels = blocks(1300, 2100)
    path = tmp_path / "tissue.ome.tif"
    write_ome_tiff(path, as_raster(tmp_path, labels), TISSUES, 0.5)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        (series,) = file.series
        assert [level.shape for level in series.levels] == [(1300, 2100), (650, 1050), (325, 525), (163, 263)]
        for level, factor in zip(series.levels, (1, 2, 4, 8), strict=True):
            rows = np.minimum(np.arange(0, 1300, factor) + factor // 2, 1299)
            columns = np.minimum(np.arange(0, 2100, factor) + factor // 2, 2099)
            assert np.array_equal(level.asarray(), labels[np.ix_(rows, columns)])
            page = level.pages[0]
            assert (page.photometric, page.compression) == (tifffile.PHOTOMETRIC.PALETTE, 8)
            assert (page.tilewidth, page.tilelength) == (512, 512)
            assert np.array_equal(page.colormap.T[:3] // 257, TISSUES.rgb())
        assert file.ome_metadata is not None
        assert 'PhysicalSizeX="0.5" PhysicalSizeXUnit="µm"' in file.ome_metadata
        assert "0 tumour, 1 Stroma „ä“, 2 background" in file.ome_metadata
    assert path.stat().st_size < labels.size / 20


def test_openslide_and_pillow_see_its_colours(tmp_path: Path) -> None:
    labels = blocks(700, 900)
    path = tmp_path / "tissue.ome.tif"
    write_ome_tiff(path, as_raster(tmp_path, labels), TISSUES, 0.25)
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (900, 700)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        pixels = np.asarray(slide.read_region((100, 50), 0, (400, 300)).convert("RGB"))
        assert np.array_equal(pixels, TISSUES.rgb()[labels[50:350, 100:500]])
    with Image.open(path) as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image.convert("RGB")), TISSUES.rgb()[labels])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3000, 2)])
def test_maps_of_odd_shapes(tmp_path: Path, shape: tuple[int, int]) -> None:
    labels = blocks(*shape)
    raster = as_raster(tmp_path, labels)
    write_ome_tiff(tmp_path / "a.ome.tif", raster, TISSUES, None)
    assert np.array_equal(tifffile.imread(tmp_path / "a.ome.tif"), labels)
    write_overview(tmp_path / "o.png", np.full((*shape, 3), 200, np.uint8), raster, TISSUES, 0.5, "a title " * 40)
    with Image.open(tmp_path / "o.png") as picture:
        assert 500 < picture.width < 2000 > picture.height > 100


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As if the disk were full as soon as a file has that many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    labels = blocks(600, 700, 7)
    raster = as_raster(tmp_path, labels)
    thumbnail = np.random.default_rng(0).integers(0, 255, (600, 700, 3)).astype(np.uint8)
    sentence = rf"^{tmp_path}/out/[a-z.]+ cannot be written: {os.strerror(errno.EFBIG)}$"
    with largest_file(20_000):
        with pytest.raises(OutputError, match=sentence):
            write_ome_tiff(tmp_path / "out" / "tissue.ome.tif", raster, TISSUES, 0.5)
        with pytest.raises(OutputError, match=sentence):
            write_geojson(tmp_path / "out" / "tissue.geojson", raster, TISSUES, 1.0, 0.5)
        with pytest.raises(OutputError, match=sentence):
            write_overview(tmp_path / "out" / "overview.png", thumbnail, raster, TISSUES, 0.5, "slide")
        with (
            pytest.raises(OutputError, match=sentence),
            ProbabilityWriter(tmp_path / "out" / "probabilities.zarr", TISSUES, 600, 700, 0.5) as writer,
        ):
            writer.write(0, np.random.default_rng(0).random((2, 600, 700)))
    assert list((tmp_path / "out").iterdir()) == []


def test_areas_of_slide_and_regions(tmp_path: Path) -> None:
    labels = np.full((20, 30), 2, np.uint8)
    labels[:10, :10] = 0
    labels[:10, 10:14] = 1
    # Level 0 has twice the resolution, and the slide begins at (100, 50).
    regions = [
        Region(shapely.box(100, 50, 124, 60), "Tumor"),
        Region(shapely.box(130, 80, 140, 90), None),
        Region(shapely.box(0, 0, 1000, 1000) - shapely.box(100, 50, 120, 70), "rest"),
    ]
    rows = slide_areas(as_raster(tmp_path, labels), TISSUES, 100.0, regions, downsample=2.0, origin=(100, 50))
    found = {(row.region, row.tissue): row for row in rows}
    pixels = {key: row.pixels for key, row in found.items()}
    assert pixels == {
        ("slide", "tumour"): 100,
        ("slide", "Stroma „ä“"): 40,
        ("slide", "background"): 460,
        ("1 Tumor", "tumour"): 50,
        ("1 Tumor", "Stroma „ä“"): 10,
        ("1 Tumor", "background"): 0,
        ("2 region", "tumour"): 0,
        ("2 region", "Stroma „ä“"): 0,
        ("2 region", "background"): 25,
        ("3 rest", "tumour"): 0,
        ("3 rest", "Stroma „ä“"): 40,
        ("3 rest", "background"): 460,
    }
    assert found["slide", "tumour"].mm2 == pytest.approx(1.0)
    assert found["slide", "tumour"].percent == pytest.approx(100 / 1.4)
    assert math.isnan(found["slide", "background"].percent)
    assert math.isnan(found["2 region", "tumour"].percent)  # no tissue there
    write_areas(tmp_path / "areas.csv", rows)
    lines = (tmp_path / "areas.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["region,tissue,mm2,percent,pixels,doubtful %,strange %", "slide,tumour,1.000000,71.429,100,,"]
    assert lines[3] == "slide,background,4.600000,,460,,"
    for before, after in zip(rows, read_areas(tmp_path / "areas.csv"), strict=True):
        assert after[:3] == before[:3]
        assert after[3:] == pytest.approx(before[3:], abs=1e-3, nan_ok=True)
    assert [row.region for row in read_areas(tmp_path / "areas.csv", regions=False)] == ["slide"] * 3


def test_areas_of_the_slide_are_read_however_many_regions_there_are(tmp_path: Path, monkeypatch) -> None:
    rows = [AreaRow(region, "tumour", 1, 100.0, 1.0) for region in ("slide", *(f"{n} cell" for n in range(50)))]
    write_areas(tmp_path / "areas.csv", rows)
    monkeypatch.setattr("histoproto.documents.tables.ROWS", 10)
    assert read_areas(tmp_path / "areas.csv", regions=False) == rows[:1]
    text = (tmp_path / "areas.csv").read_text()
    for damaged in (text[:-20], text.splitlines()[0], text.replace("7 cell,tumour", "7 cell")):
        (tmp_path / "areas.csv").write_text(damaged)
        with pytest.raises(DocumentError, match=r"areas\.csv"):
            read_areas(tmp_path / "areas.csv", regions=False)


def test_areas_in_strips_are_those_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = blocks(90, 80, 7)
    raster = as_raster(tmp_path, labels)
    regions = [Region(shapely.Point(40, 45).buffer(30), "round"), Region(shapely.box(-9, 60, 200, 61), None)]
    whole = slide_areas(raster, TISSUES, 0.5, regions)
    monkeypatch.setattr("histoproto.slides.export.areas.AT_ONCE", 900)
    assert str(slide_areas(raster, TISSUES, 0.5, regions)) == str(whole)
    assert sum(row.pixels for row in whole if row.region == "2 region") == 80


def test_the_overview_shows_slide_map_and_legend(tmp_path: Path) -> None:
    labels = np.full((400, 500), 2, np.uint8)
    labels[:, :250] = 0
    labels[:, 250:400] = 1
    raster = as_raster(tmp_path, labels)
    thumbnail = np.full((40, 50, 3), (10, 200, 30), np.uint8)
    write_overview(tmp_path / "overview.png", thumbnail, raster, TISSUES, 1.0, "slide")
    with Image.open(tmp_path / "overview.png") as picture:
        count = {colour: number for number, colour in picture.convert("RGB").getcolors(1 << 20) or []}
    shown = 900 * 720
    tumour, stroma, _ = (tuple(colour) for colour in TISSUES.rgb().tolist())
    # Chips of the legend add a little to the areas of the map.
    assert count[10, 200, 30] == pytest.approx(shown, rel=0.01)
    assert count[tumour] == pytest.approx(0.5 * shown, rel=0.01)
    assert count[stroma] == pytest.approx(0.3 * shown, rel=0.01)
    with Image.open(tmp_path / THUMBNAIL_FILE) as small:
        assert small.size == (360, 143)


def test_a_slide_without_tissue_has_an_overview(tmp_path: Path) -> None:
    raster = as_raster(tmp_path, np.full((40, 50), 2, np.uint8))
    write_overview(tmp_path / "overview.png", np.full((40, 50, 3), 244, np.uint8), raster, TISSUES, 1.0, "glass")
    assert (tmp_path / "overview.png").is_file()


def test_scale_bars_and_areas_in_words() -> None:
    for um_per_pixel in (0.01, 0.25, 1.0, 7.3, 123.4):
        length, text = scale_bar(um_per_pixel, 200)
        number, unit = text.split()
        assert 80 <= length <= 200
        assert float(number) * (1000 if unit == "mm" else 1) == pytest.approx(length * um_per_pixel)
        assert number.strip("0.")[0] in "125"
    assert [area_text(mm2) for mm2 in (0.0, 2.5e-7, 0.5, 99.94, 512.3)] == [
        "0 µm²",
        "0.25 µm²",
        "0.5 mm²",
        "99.9 mm²",
        "512 mm²",
    ]


def test_a_map_shrinks_and_grows_by_nearest_neighbour(tmp_path: Path) -> None:
    labels = blocks(30, 40, 10)
    raster = as_raster(tmp_path, labels)
    assert np.array_equal(shrink_labels(raster, 3, 4), labels[5::10, 5::10])
    assert np.array_equal(shrink_labels(raster, 60, 80), labels.repeat(2, 0).repeat(2, 1))


def test_probabilities_come_back(tmp_path: Path) -> None:
    chances = np.random.default_rng(0).random((2, 700, 600)).astype(np.float32)
    path = tmp_path / "probabilities.zarr"
    for _ in range(2):  # a second time it replaces the first
        with ProbabilityWriter(path, TISSUES, 700, 600, 0.5) as writer:
            for top in range(0, 700, 300):
                writer.write(top, chances[:, top : top + 300])
    array = read_probabilities(path)
    assert (array.shape, array.chunks, array.dtype) == ((2, 700, 600), (2, 512, 512), np.uint8)
    assert np.abs(array[:] / 255 - chances).max() <= 0.5 / 255 + 1e-6
    assert [entry.name for entry in tmp_path.iterdir()] == ["probabilities.zarr"]


def test_without_zarr_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(SettingError, match=r"pip install 'histoproto\[zarr\]'"):
        ProbabilityWriter(tmp_path / "a.zarr", TISSUES, 7, 6, 0.5)


def export_all(folder: Path, side: int, peak: Synchronized[float]) -> None:
    """Write all exports of a map of that size, and tell by how many bytes that raised the peak of this process."""
    rng = np.random.default_rng(0)
    tile = np.stack([ndimage.gaussian_filter(rng.normal(size=(1024, 1024)), 20) for _ in range(3)]).argmax(0)
    labels, raster = tile.astype(np.uint8), LabelRaster.create(folder / "labels", side, side)
    for top in range(0, side, 1024):
        for left in range(0, side, 1024):
            raster.write(top, left, labels[:: 1 - top // 512 % 4, :: 1 - left // 512 % 4])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    areas = slide_areas(raster, TISSUES, 0.5, [Region(shapely.box(9, 9, side - 9, side - 9), None)])
    write_ome_tiff(folder / "a.ome.tif", raster, TISSUES, 0.5)
    write_overview(folder / "a.png", np.full((50, 50, 3), 9, np.uint8), raster, TISSUES, 0.5, "slide", areas)
    write_geojson(folder / "a.geojson", raster, TISSUES, 1.0, 0.5)
    unit = 1 if sys.platform == "darwin" else 1024
    peak.value = unit * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


@pytest.mark.slow
def test_memory_stays_below_the_size_of_the_map(tmp_path: Path) -> None:
    """A map of 0.1 gigapixels; benchmarks/slide_exports.py shows the same of larger ones."""
    spawn, side = multiprocessing.get_context("spawn"), 10240
    peak = spawn.Value("d", 0.0)
    process = spawn.Process(target=export_all, args=(tmp_path, side, peak))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert peak.value < 0.8 * side**2
