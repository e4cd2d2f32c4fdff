"""Good inputs: small ones of every kind, made by the commands themselves as far as they can."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import tifffile
from PIL import Image

from campaign.bench import Bench
from slide_files import write_dicom

SMALL = [
    "model.encoder=test_efficientnet",
    "model.weights=null",
    "model.prototypes=2",
    "model.dimension=8",
    "loss.similarity=0",
    "training.epochs=1",
    "training.batch_size=4",
    "data.workers=0",
]
SMALL_OPTIONS = [part for setting in SMALL for part in ("--set", setting)]


def make_good(bench: Bench) -> None:
    """Fill `bench.good`.

    data, table, regions, slides, dicom, images: inputs; run, stopped, onnx, model.zip: models; scores, comparison,
    segmented: results.
    """
    good = bench.good

    def run(*arguments: str) -> None:
        result = bench.run(good, list(arguments), 300)
        assert result.code == 0, f"{arguments}: {result.output}"

    run("data", "phantom", "--out", "data", "--train", "12", "--val", "2", "--test", "3", "--size", "64")
    run("data", "phantom-slide", "--out", "slide.tif", "--width", "256", "--height", "192")
    run("train", "data", "--out", "run", "--no-report", *SMALL_OPTIONS)
    run("evaluate", "run", "data")
    run("export", "run", "--out", "onnx")
    run("export", "run", "--out", "model.zip", "--format", "zip")
    (good / "slides").mkdir()
    shutil.move(good / "slide.tif", good / "slides" / "slide.tif")
    ring = [[[20, 20], [220, 20], [220, 170], [20, 170], [20, 20]]]
    feature = {
        "type": "Feature",
        "id": "a",
        "geometry": {"type": "Polygon", "coordinates": ring},
        "properties": {"objectType": "annotation", "classification": {"name": "tumour", "color": [200, 0, 0]}},
    }
    content = json.dumps({"type": "FeatureCollection", "features": [feature]})
    (good / "slides" / "slide.geojson").write_text(content)
    (good / "slides.csv").write_text("slide,mpp,region\nslides/slide.tif,1.0,slides/slide.geojson\n")
    run("segment", "run", "slides", "--out", "segmented")
    _dicom(good)
    _regions(good)
    _table(good)
    (good / "images").mkdir()
    for index, path in enumerate(sorted((good / "data" / "test" / "img").iterdir())):
        shutil.copy2(path, good / "images" / f"{index}.png")
    _comparison(good)


def _dicom(good: Path) -> None:
    """A slide of two files, one per level."""
    (good / "dicom").mkdir()
    picture = tifffile.imread(good / "slides" / "slide.tif")
    for step, name in ((1, "a"), (2, "b")):
        path = good / "dicom" / f"{name}.dcm"
        write_dicom(path, picture[::step, ::step].copy(), mpp=float(step))
        with pydicom.dcmread(path) as file:
            file.SeriesInstanceUID, file.SOPInstanceUID = "1.2.3", f"1.2.3.{step}"
            file.DimensionOrganizationType = "TILED_FULL"
            file.save_as(path)


def _regions(good: Path) -> None:
    """What `data cut` takes: two images of 96 px with masks."""
    for part in ("img", "mask"):
        (good / "regions" / part).mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name in ("p1_a", "p2_b"):
        Image.fromarray(draw.integers(60, 200, (96, 96, 3), np.uint8)).save(good / "regions" / "img" / f"{name}.png")
        mask = np.repeat(np.arange(4, dtype=np.uint8), 24)[None].repeat(96, axis=0)
        Image.fromarray(mask).save(good / "regions" / "mask" / f"{name}.png")
    shutil.copy2(good / "data" / "classes.yaml", good / "regions" / "classes.yaml")
    (good / "patients.csv").write_text("image,patient\np1_a.png,one\np2_b.png,two\n")


def _table(good: Path) -> None:
    """A data folder with labels in a table."""
    (good / "table" / "images").mkdir(parents=True)
    rows = ["image,tumour,stroma,split,group"]
    for index, path in enumerate(sorted((good / "data" / "train").glob("*.png"))[:6]):
        shutil.copy2(path, good / "table" / "images" / f"{index}.png")
        rows.append(f"images/{index}.png,{index % 2},1,train,g{index}")
    (good / "table" / "labels.csv").write_text("\n".join(rows) + "\n")


def _comparison(good: Path) -> None:
    """A finished comparison of one run, put together by hand, for training it takes minutes."""
    from histoproto.compare.plan import Plan, Variant
    from histoproto.compare.work import measure

    plan = Plan.make(good / "data", [Variant("lpd", "lpd", False, tuple(SMALL))], 1)
    plan.write(good / "comparison")
    run = good / "comparison" / "lpd" / "seed-0"
    shutil.copytree(good / "run", run)
    measure(run, good / "data")
