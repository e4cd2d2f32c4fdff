from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fakes import ColourNetwork, colour_card
from histoproto.config import InferenceSettings
from histoproto.data.images import write_image
from histoproto.errors import DataError, DocumentError, ImageError, OutputError, SettingError
from histoproto.inference.segmenter import Segmenter
from histoproto.inference.windows import CELL
from histoproto.slides.ahead import read_ahead
from histoproto.slides.export import read_areas, read_probabilities
from histoproto.slides.labelling.batches import Batch, in_batches
from histoproto.slides.labelling.labels import SlideLabeller
from histoproto.slides.labelling.plan import plan_windows
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.labelling.scope import MaskScope, Scope, find_scope
from histoproto.slides.labelling.strip import Strip
from histoproto.slides.labelling.tissue_finder import find_tissue, otsu
from histoproto.slides.options import SlideOptions
from histoproto.slides.reading.picture import ImageSlide
from histoproto.slides.reading.protocol import SlideReader
from histoproto.slides.regions.geojson import read_geojson
from histoproto.slides.segment import segment_slide
from histoproto.slides.task import SlideTask

Pixels = NDArray[np.uint8]
SIZE = 64
PLAIN = InferenceSettings(background="none")


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(ColourNetwork(), colour_card(SIZE, mpp=1.0), device="cpu")  # type: ignore[arg-type]


def blobs(height: int, width: int, seed: int = 0) -> Pixels:
    """Smooth spots of all colours."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width, 3)), (25, 25, 0))
    return (255 * (noise - noise.min()) / max(np.ptp(noise), 1e-9)).astype(np.uint8)


def whole(image: Pixels) -> Scope:
    return MaskScope(np.ones((1, 1), np.bool_), image.shape[:2])


def opened(image: Pixels, folder: Path) -> SlideReader:
    write_image(folder / "slide.png", image)
    return ImageSlide(folder / "slide.png")


def labelled(
    segmenter: Segmenter,
    image: Pixels,
    folder: Path,
    settings: InferenceSettings = PLAIN,
    scope: Scope | None = None,
    overlap: float = 0.5,
    downsample: float = 1.0,
) -> Pixels:
    """The label map of an image that is read as a slide."""
    scope = scope or whole(image)
    plan = plan_windows(*image.shape[:2], downsample, SIZE, overlap, scope)
    with LabelRaster.create(folder / "labels", plan.height, plan.width, fill=3) as raster:
        SlideLabeller(segmenter, opened(image, folder), plan, scope, settings, readers=2).write(raster)
        return raster.read(0, 0, plan.height, plan.width)


@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        InferenceSettings(background="glass", views=6),
        InferenceSettings(background="none", fusion="minmax"),
        InferenceSettings(background="activation"),
        InferenceSettings(background="none", crf=True),
    ],
    ids=["plain", "glass", "minmax", "activation", "crf"],
)
def test_a_slide_is_labelled_like_an_image(segmenter: Segmenter, settings: InferenceSettings, tmp_path: Path) -> None:
    """Nearly: windows of a slide are blended on the grid of the finest map, those of an image pixel by pixel."""
    image = blobs(320, 448)
    image[100:140, 200:230] = 250  # glass
    result = segmenter.segment(image, settings=settings)
    found = labelled(segmenter, image, tmp_path, settings)
    assert (found == result.labels).mean() > 0.95  # type: ignore[union-attr]
    if settings.background == "glass":
        assert np.array_equal(found == 3, result.labels == 3)  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (64, 64), (63, 65), (200, 131), (700, 90)])
@pytest.mark.parametrize("overlap", [0.5, 0.0, 0.25, 0.75])
def test_one_tissue_stays_one_tissue(
    segmenter: Segmenter, shape: tuple[int, int], overlap: float, tmp_path: Path
) -> None:
    image = np.full((*shape, 3), (20, 200, 20), np.uint8)
    assert (labelled(segmenter, image, tmp_path, overlap=overlap) == 1).all()


@pytest.mark.parametrize("halo", [1, 4])
def test_a_constant_map_stays_constant(halo: int) -> None:
    """In strips of any height, for windows on a grid and one flush with the edge."""
    height, width, size, group = 61, 37, 8, 3
    starts = [np.array([*range(0, side - size, 4), side - size]) for side in (height, width)]
    strip = Strip(2, height, width, size, step=4 * group, halo=halo)
    seen = []
    for first in range(0, len(starts[0]), group):
        tops, lefts = np.meshgrid(starts[0][first : first + group], starts[1], indexing="ij")
        scores = np.broadcast_to(np.float32([3, -7])[None, :, None, None], (tops.size, 2, size, size))
        strip.add(tops.ravel(), lefts.ravel(), scores)
        last = first + group >= len(starts[0])
        rows = strip.finish(height if last else int(starts[0][first + group]))
        if rows:
            assert rows.covered.all()
            assert rows.top == max(0, rows.first - halo)
            assert rows.scores.shape[1] == min(height, rows.last + halo) - rows.top
            np.testing.assert_allclose(rows.scores, np.broadcast_to([[[3]], [[-7]]], rows.scores.shape), rtol=1e-5)
            seen += range(rows.first, rows.last)
    assert seen == list(range(height))


def test_a_slide_cut_in_two_equals_the_slide_in_one(segmenter: Segmenter, tmp_path: Path) -> None:
    """Also at the seam, where the halves have a window in common."""
    image = blobs(200, 800)
    one = labelled(segmenter, image, tmp_path)
    # Windows begin every 32 px: halves that overlap by a window hold all windows of the slide.
    left, right = (labelled(segmenter, part, tmp_path) for part in (image[:, : 384 + SIZE], image[:, 384 - SIZE :]))
    assert np.array_equal(np.concatenate([left[:, :384], right[:, SIZE:]], axis=1), one)


def test_only_windows_with_tissue_are_needed_and_only_tissue_is_labelled(segmenter: Segmenter, tmp_path: Path) -> None:
    image = blobs(640, 640)
    mask = np.zeros((80, 80), np.bool_)
    mask[30:40, 50:61] = True
    scope = MaskScope(mask, (640, 640))
    plan = plan_windows(640, 640, 1.0, SIZE, 0.5, scope)
    assert 0 < plan.needed.mean() < 0.1
    found = labelled(segmenter, image, tmp_path, scope=scope)
    assert np.array_equal(found != 3, np.kron(mask, np.ones((8, 8))) > 0)
    inside = np.s_[240:320, 400:488]
    assert np.array_equal(found[inside], labelled(segmenter, image, tmp_path)[inside])  # the same as if all were done


def test_regions_of_the_user(segmenter: Segmenter, tmp_path: Path) -> None:
    image = blobs(300, 420)
    ring = shapely.box(100, 60, 200, 160).difference(shapely.box(130, 90, 150, 110))
    (tmp_path / "regions.geojson").write_text(shapely.to_geojson(shapely.union(ring, shapely.box(300, 200, 301, 260))))
    expected = np.zeros((300, 420), np.bool_)
    expected[60:160, 100:200] = expected[200:260, 300:301] = True
    expected[90:110, 130:150] = False
    reader = opened(image, tmp_path)
    scope = find_scope(reader, 1.0, tmp_path / "regions.geojson")
    assert np.array_equal(labelled(segmenter, image, tmp_path, scope=scope) != 3, expected)
    write_image(tmp_path / "mask.png", np.dstack([expected * 255] * 3).astype(np.uint8))
    scope = find_scope(reader, 1.0, tmp_path / "mask.png")
    assert np.array_equal(labelled(segmenter, image, tmp_path, scope=scope) != 3, expected)
    write_image(tmp_path / "mask.png", image[:, :200])
    with pytest.raises(DataError, match="which is not the shape of the slide"):
        find_scope(reader, 1.0, tmp_path / "mask.png")


def test_a_slide_is_read_at_the_scale_of_the_model(segmenter: Segmenter, tmp_path: Path) -> None:
    image = blobs(160, 240)
    double = np.kron(image, np.ones((2, 2, 1), np.uint8))
    assert np.array_equal(labelled(segmenter, double, tmp_path, downsample=2.0), labelled(segmenter, image, tmp_path))


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


def test_batches_do_not_cross_the_end_of_a_row() -> None:
    def batch(count: int, first: int) -> Batch:
        numbers = np.arange(first, first + count)
        return Batch(numbers.astype(np.uint8)[:, None, None, None], numbers, numbers, np.ones(count, np.float32))

    found = list(in_batches([batch(3, 0), batch(3, 3), batch(1, 6), 10, 20, batch(2, 7), 30], 4))
    sizes = [item if isinstance(item, int) else item.tops.tolist() for item in found]
    assert sizes == [[0, 1, 2, 3], [4, 5, 6], 10, 20, [7, 8], 30]


def test_reading_ahead_is_bounded_and_stops_at_the_first_error() -> None:
    started: list[int] = []

    def work(step: int) -> int:
        started.append(step)
        if step == 20:
            raise ImageError("broken")
        return step

    results = read_ahead(work, range(1000), threads=2)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert max(started) <= 5 + 4
    with pytest.raises(ImageError, match="broken"):
        list(results)
    assert max(started) < 30


def test_tissue_is_found() -> None:
    glass = np.full((200, 300, 3), 240, np.uint8)
    glass += np.random.default_rng(0).integers(0, 6, glass.shape, dtype=np.uint8)
    assert not find_tissue(glass, 8.0).mask.any()
    assert not find_tissue(np.full((50, 60, 3), 255, np.uint8), 8.0).mask.any()
    tissue = np.full((200, 300, 3), (200, 130, 180), np.uint8)
    assert find_tissue(tissue, 8.0).mask.all()
    assert find_tissue(tissue[:1, :1], 8.0).mask.all()
    pale = np.full((200, 300, 3), (235, 205, 225), np.uint8)
    assert find_tissue(pale, 8.0).mask.all()
    slide = glass.copy()
    slide[40:120, 60:200] = (200, 130, 180)
    slide[60:64, 100:104] = 245  # a small hole
    slide[70:110, 110:160] = 245  # a large one
    slide[10:12, 10:12] = (200, 130, 180)  # a speck
    slide[150:160, :] = (30, 140, 90)  # green, blue and black ink
    slide[170:180, :] = (40, 60, 160)
    slide[185:195, :] = (20, 20, 25)
    found = find_tissue(slide, 8.0).mask
    assert found[42:118, 62:108].all()
    assert not found[75:105, 115:155].any()
    assert not found[:30].any()
    assert not found[130:].any()


def test_otsu_separates_two_groups() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(40, 8, 5000), rng.normal(160, 20, 800)]).clip(0, 255).astype(np.uint8)
    spread = [
        (values <= level).mean() * values[values <= level].var()
        + (values > level).mean() * values[values > level].var()
        for level in range(values.min(), values.max())
    ]
    assert otsu(values) == values.min() + int(np.argmin(spread))
    assert otsu(np.full(10, 7, np.uint8)) in range(256)
    assert otsu(np.empty(0, np.uint8)) == 0


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
