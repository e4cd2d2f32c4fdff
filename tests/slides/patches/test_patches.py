"""Patches and tiles from slides: labels as drawn, pixels as scanned, at the wanted scale."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from typer.testing import CliRunner

from histoproto.cli.data import app
from histoproto.data.cut import cut_patches
from histoproto.data.cut_record import CutSettings, recorded_mpp
from histoproto.data.images import list_images, read_image
from histoproto.data.layouts import open_data
from histoproto.data.masks import read_mask
from histoproto.data.phantom import TISSUES
from histoproto.errors import DataError, HistoProtoError, OutputError, SettingError
from histoproto.slides.export.geojson import write_geojson
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.labelling.tissue_finder import find_tissue
from histoproto.slides.many.tasks import find_slides
from histoproto.slides.patches.annotated import AnnotatedSlide, find_annotated
from histoproto.slides.patches.unlabelled import TileSettings, cut_tiles
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.reading.opening import open_slide
from histoproto.slides.task import SlideTask
from histoproto.tissue import TissueSet

RED, GLASS = (190, 40, 90), (243, 243, 243)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, HistoProtoError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def write_slide(path: Path, pixels: np.ndarray, mpp: float | None = 0.25) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scale = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", **scale)
    return path


def draw(path: Path, *areas: tuple[shapely.Geometry, str | None]) -> None:
    """As QuPath exports annotations."""
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(geometry)),
            "properties": {"objectType": "annotation", **({"classification": {"name": name}} if name else {})},
        }
        for geometry, name in areas
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A slide of 400 × 240 px at 0.25 µm/px; the smaller of two areas lies on the larger one, which has a hole."""
    pixels = np.random.default_rng(0).integers(0, 256, (240, 400, 3), dtype=np.uint8)
    write_slide(tmp_path / "slides" / "Fall 1.tif", pixels)
    stroma = shapely.box(0, 0, 200, 240) - shapely.box(20, 20, 40, 40)
    tumour = shapely.box(100, 100, 180, 160)
    draw(
        tmp_path / "slides" / "Fall 1.geojson",
        (tumour, "Tumour"),
        (stroma, "Stroma"),
        (shapely.box(0, 0, 400, 240), "Ignore*"),
        (shapely.box(0, 0, 5, 5), None),
    )
    return tmp_path / "slides"


def test_labels_are_those_of_the_area_at_each_pixels_centre(slides: Path) -> None:
    found = find_annotated(slides, mpp=0.5)
    assert found.tissues.names == ("Stroma", "Tumour")
    assert (found.cut_out, found.silent) == ({"Ignore*": 1}, {None: 1})
    with found.regions["Fall 1"]() as slide:
        assert slide.shape == (120, 200)
        whole = slide.labels(0, 0, 120)
        expected = np.full((120, 120), 2)
        expected[:, :100] = 0
        expected[10:20, 10:20] = 2
        expected[50:80, 50:90] = 1
        assert np.array_equal(whole, expected)
        rows, columns = np.array([0, 30, 80]), np.array([0, 45, 160])
        counts = slide.counts(rows, columns, 40)
        for i, top in enumerate(rows):
            for j, left in enumerate(columns):
                labels = slide.labels(top, left, 40)
                assert counts[i, j].tolist() == [(labels == 0).sum(), (labels == 1).sum()]


def test_patches_of_a_slide_are_cut_like_those_of_an_image(slides: Path, tmp_path: Path) -> None:
    output = run("cut", slides, tmp_path / "out", "--size", 40, "--mpp", 0.5)
    assert "1 slide with annotations of Stroma, Tumour" in output
    assert "cut out of larger ones that they lie on: 1 Ignore*\n" in output
    assert "left out: 1 without a class\n" in output
    data = open_data(tmp_path / "out")
    assert data.tissues.names == ("Stroma", "Tumour")
    labels = {patch.image.name.split("[")[0]: patch.labels for patch in data.train}
    # offsets 0, 40, … 160 across and 0, 40, 80 down; the area ends at 100
    assert labels["Fall 1+0"] == (1, 0)
    assert labels["Fall 1+6"] == (1, 1)
    assert labels["Fall 1+7"] == (1, 1)
    assert "Fall 1+3" not in labels
    assert recorded_mpp(tmp_path / "out") == 0.5
    with open_slide(slides / "Fall 1.tif") as reader:
        expected = reader.read(80, 80, 40, 40, 2.0)
    assert np.array_equal(read_image(tmp_path / "out" / "train" / "Fall 1+6[11].png"), expected)
    run("cut", slides, tmp_path / "out", "--size", 40, "--mpp", 0.5, "--split", "test")
    mask = read_mask(tmp_path / "out" / "test" / "mask" / "Fall 1+6.png", data.tissues)
    assert np.bincount(mask.ravel(), minlength=3).tolist() == [40 * 40 - 30 * 30, 30 * 30, 0]


def test_classes_annotations_and_groups_may_be_given(slides: Path, tmp_path: Path) -> None:
    (slides / "Fall 1.tif").rename(tmp_path / "Fall 1.tif")
    write_slide(tmp_path / "Fall 2.tif", np.zeros((240, 400, 3), dtype=np.uint8))
    TissueSet.of("Tumour", "Necrosis").write(tmp_path / "classes.yaml")
    found = find_annotated(tmp_path, 0.5, annotations=slides, classes=TissueSet.read(tmp_path / "classes.yaml"))
    assert found.without == ["Fall 2"]
    assert (found.cut_out, found.silent) == ({"Stroma": 1, "Ignore*": 1}, {None: 1})
    report = cut_patches(found.tissues, found.regions, tmp_path / "out", CutSettings(40, mpp=0.5, region_mpp=0.5))
    assert set(report.labels["train"]) == {(1, 0)}
    draw(slides / "Fall 2.geojson", (shapely.box(0, 0, 400, 240), "Tumour"))
    options = ("--annotations", slides, "--mpp", 0.5, "--size", 40, "--group-regex", "[0-9]+", "--test-groups", "2")
    run("cut", tmp_path, tmp_path / "split", *options)
    data = open_data(tmp_path / "split")
    assert {patch.group for patch in data.train} == {"1"}
    assert {patch.group for patch in data.test} == {"2"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda folder: (folder / "Fall 1.geojson").unlink(),
            r"none of 1 slide has annotations: expected Fall 1\.geojson",
        ),
        (
            lambda folder: draw(folder / "Fall 1.geojson", (shapely.box(0, 0, 9, 9), None)),
            "there are 1 without a class",
        ),
        (lambda folder: (folder / "Fall 1.geojson").write_text("{"), "is no JSON"),
        (lambda folder: write_slide(folder / "Fall 1.ome.tif", np.zeros((9, 9, 3), np.uint8)), "more than one slide"),
        (lambda folder: write_slide(folder / "Fall 1.tif", np.zeros((99, 99, 3), np.uint8), None), "--region-mpp"),
        (lambda folder: (folder / "Fall 1.tif").unlink(), "there are no slides"),
    ],
)
def test_slides_that_cannot_be_cut(slides: Path, tmp_path: Path, change: object, sentence: str) -> None:
    change(slides)  # type: ignore[operator]
    with pytest.raises(HistoProtoError, match=sentence):
        run("cut", slides, tmp_path / "out", "--mpp", 0.5, "--size", 20)
    assert not (tmp_path / "out").exists()


def test_slides_need_a_scale(slides: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="give --mpp"):
        run("cut", slides, tmp_path / "out")


def test_outlines_of_a_mask_give_the_labels_that_the_mask_gives(tmp_path: Path) -> None:
    """A phantom slide, its exact mask exported as for QuPath, and cut again."""
    path, mask = tmp_path / "slide.tif", tmp_path / "mask.tiff.hidden"
    write_phantom_slide(path, mask, width=512, height=384, mpp=1.0, field=256, distinct=2, glass=0.2)
    labels = tifffile.imread(mask)
    with LabelRaster.create(tmp_path / "labels", *labels.shape) as raster:
        raster.write(0, 0, labels)
        write_geojson(tmp_path / "slide.geojson", raster, TISSUES, 1.0, 1.0, tolerance_um=0)
    TISSUES.write(tmp_path / "classes.yaml")
    found = find_annotated(path, 1.0, classes=TissueSet.read(tmp_path / "classes.yaml"))
    with found.regions["slide"]() as slide:
        assert slide.shape == labels.shape
        for top, left in ((0, 0), (100, 200), (256, 384)):
            assert np.array_equal(slide.labels(top, left, 128), labels[top : top + 128, left : left + 128])
    with found.regions["slide"]() as slide:
        assert isinstance(slide, AnnotatedSlide)
        counts = slide.counts(np.arange(0, 384, 64), np.arange(0, 512, 64), 64)
    squares = labels.reshape(6, 64, 8, 64)
    assert np.array_equal(counts, np.stack([(squares == tissue).sum((1, 3)) for tissue in range(4)], axis=-1))


@pytest.fixture
def half_glass(tmp_path: Path) -> Path:
    """A slide of 2000 × 1200 px at 0.5 µm/px, tissue on the left half."""
    noise = np.random.default_rng(0).integers(-9, 10, (1200, 2000, 1))
    pixels = np.where(np.arange(2000)[None, :, None] < 1000, RED, GLASS) + noise
    return write_slide(tmp_path / "half.tif", np.clip(pixels, 0, 255).astype(np.uint8), 0.5)


def test_tiles_show_tissue_and_wait_for_labels(half_glass: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    output = run("tiles", half_glass, "--out", out, "--classes", "tumour, stroma", "--mpp", 1, "--size", 100)
    assert "30 tiles of 1 slide in" in output
    with (out / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"image": "tiles/half+0.png", "tumour": "", "stroma": "", "group": "half"}
    assert [row["image"] for row in rows] == [f"tiles/half+{10 * y + x}.png" for y in range(6) for x in range(5)]
    tile = read_image(out / rows[0]["image"])
    assert tile.shape == (100, 100, 3)
    assert np.abs(tile.mean(axis=(0, 1)) - RED).max() < 2
    with pytest.raises(DataError, match="30 of 30 images have no label yet, the first is in line 2"):
        open_data(out)
    lines = (out / "labels.csv").read_text().splitlines()
    (out / "labels.csv").write_text("\n".join([lines[0], *(line.replace(",,,", ",1,0,") for line in lines[1:])]))
    data = open_data(out)
    assert (data.layout, len(data.train), data.train[0].labels) == ("table", 30, (1, 0))
    assert recorded_mpp(out) == 1
    with pytest.raises(OutputError, match="not empty"):  # somebody's work is in there
        run("tiles", half_glass, "--out", out, "--classes", "tumour", "--mpp", 1)


def test_tiles_at_random(half_glass: Path, tmp_path: Path) -> None:
    tasks, tissues = find_slides([half_glass]), TissueSet.of("tumour")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = TileSettings(1.0, 100, stride=50, per_slide=7, seed=seed)
        assert cut_tiles(tasks, tmp_path / name, tissues, settings) == {"half": 7}
    notes: list[str] = []
    half = [SlideTask(tasks[0].path, 0.8)]
    cut_tiles(half, tmp_path / "half", tissues, TileSettings(1.0, 100), notes=notes)
    assert "half: 0.8 µm/px is taken, as told, though the file says" in notes[0]
    first, again, other = ([path.name for path in list_images(tmp_path / name / "tiles")] for name in "abc")
    assert first == again != other
    with pytest.raises(DataError, match="none of 1 slide has a tile with 100% of tissue"):
        cut_tiles(tasks, tmp_path / "d", tissues, TileSettings(1.0, 700, tissue=1.0))
    assert not (tmp_path / "d").exists()
    for wrong in ({"per_slide": 0}, {"size": 0}, {"tissue": 2}, {"mpp": -1}):
        with pytest.raises(SettingError):
            TileSettings(**{"mpp": 1.0, **wrong})


def test_pale_tissue_is_no_glass() -> None:
    """Where there is little glass, the two most different groups are strongly and weakly stained tissue."""
    image = np.full((60, 100, 3), GLASS, dtype=np.uint8)
    image[:, 10:55] = (215, 185, 205)
    image[:, 55:] = (190, 120, 160)
    found = find_tissue(image, 8.0).mask
    assert found[:, 10:].all()
    assert not found[:, :5].any()
