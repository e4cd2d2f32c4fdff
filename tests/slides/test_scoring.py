from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fakes import TISSUES, tiny_run
from histoproto.data.images import write_image, write_mask
from histoproto.data.masks import read_mask
from histoproto.errors import DataError, SettingError
from histoproto.evaluation.boundary import boundary_counts, boundary_iou
from histoproto.evaluation.confusion import confusion_matrix, mean_of_known, scores
from histoproto.evaluation.protocols import PROTOCOLS
from histoproto.inference.segmenter import Segmenter
from histoproto.inference.windows import CELL
from histoproto.slides import comparing
from histoproto.slides.comparing import compare
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.options import SlideOptions
from histoproto.slides.scoring import MAPS_FILE, evaluate_maps
from histoproto.slides.segment import segment_slide
from histoproto.slides.task import SlideTask

Pixels = NDArray[np.uint8]


def blobs(height: int, width: int, seed: int) -> tuple[Pixels, Pixels]:
    """Smooth spots of all colours, and a mask of three tissues and background."""
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.normal(size=(height, width, 3)), (12, 12, 0))
    image = (40 + 150 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
    labels = gaussian_filter(rng.normal(size=(4, height, width)), (0, 15, 15)).argmax(axis=0).astype(np.uint8)
    return image, labels


@pytest.mark.parametrize("background", ["ignored", "counted"])
def test_strips_are_scored_as_the_whole(background: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bands along outlines reach over the seams."""
    monkeypatch.setattr(comparing, "strip_rows", lambda width: 13)
    doubts = np.random.default_rng(0).integers(0, 256, (19, 12), dtype=np.uint8)
    (_, predicted), (_, true) = blobs(151, 90, 0), blobs(151, 90, 1)
    with (
        LabelRaster.create(tmp_path / "labels", *predicted.shape) as raster,
        LabelRaster.create(tmp_path / "doubt", *doubts.shape) as doubt,
    ):
        raster.write(0, 0, predicted)
        doubt.write(0, 0, doubts)
        matrix, outlines, reliability = compare(raster, doubt, lambda first, last: true[first:last], 3, background, 5)  # type: ignore[arg-type]
    named = (predicted < 3) & (true < 3)
    chance = 1 - np.kron(doubts, np.ones((CELL, CELL)))[:151, :90][named] / 255
    right = (predicted == true)[named]
    bins = np.minimum(np.floor(np.floor((1 - chance) * 1000 + 1e-9) * 15 / 1000), 14)
    gaps = [abs((chance - right)[bins == each].sum()) for each in range(15)]
    assert reliability.calibration_error() == pytest.approx(sum(gaps) / named.sum(), abs=2e-3)
    assert np.array_equal(matrix, confusion_matrix(predicted, true, 3))
    assert np.array_equal(outlines, boundary_counts(predicted, true, 3, background, reach=5))  # type: ignore[arg-type]


def test_what_is_scored_is_what_a_user_gets(tmp_path: Path) -> None:
    """Regions with masks: the figures are those of the maps that `segment` writes."""
    run, data = tiny_run(tmp_path / "run", mpp=0.5), tmp_path / "regions"
    data.mkdir()
    TISSUES.write(data / "classes.yaml")
    matrix, outlines = np.zeros((4, 4), np.int64), np.zeros((3, 2), np.int64)
    options = SlideOptions(background="none", min_area_um2=20, overlap=0.5)
    for index, shape in enumerate([(150, 200), (64, 130)]):
        image, labels = blobs(*shape, index)
        write_image(data / "img" / f"{index}.png", image)
        write_mask(data / "mask" / f"{index}.png", labels, TISSUES)
        everything = tmp_path / "all.geojson"
        everything.write_text(shapely.to_geojson(shapely.box(0, 0, *shape[::-1])))
        out = tmp_path / f"slide-{index}"
        segment_slide(Segmenter.load(run), SlideTask(data / "img" / f"{index}.png", 0.5, everything), out, options)
        found = tifffile.imread(out / "tissue.ome.tif")
        assert np.array_equal(read_mask(data / "mask" / f"{index}.png", TISSUES), labels)
        matrix += confusion_matrix(found, labels, 3)
        outlines += boundary_counts(found, labels, 3, reach=8)
    result = evaluate_maps(run, data, options=options, mpp=0.5, distance_um=4.0)
    assert result["pooled"]["confusion"] == matrix.tolist()
    assert result["pooled"]["miou"] == pytest.approx(scores(matrix).miou)
    assert result["pooled"]["boundary_iou"] == pytest.approx(mean_of_known(boundary_iou(outlines)))
    assert np.array_equal(np.sum([row["confusion"] for row in result["slides"].values()], axis=0), matrix)
    assert json.loads((run / MAPS_FILE).read_text())["honest"][str(data)] == result
    with pytest.raises(DataError, match="--mpp"):
        evaluate_maps(run, data)
    with pytest.raises(SettingError, match="predicted labels"):
        evaluate_maps(run, data, PROTOCOLS["paper"])


def test_slides_with_annotations(tmp_path: Path) -> None:
    """Drawn at full resolution, scored at half of it; what nobody drew is not scored."""
    run, data = tiny_run(tmp_path / "run", mpp=1.0), tmp_path / "slides"
    image, _ = blobs(400, 400, 0)
    write_image(data / "a.png", image)
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(shapely.box(*box))),
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }
        for name, box in (("red", (20, 20, 220, 120)), ("blue", (20, 120, 220, 220)))
    ]
    (data / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    result = evaluate_maps(run, data / "a.png", options=SlideOptions(overlap=0.5), mpp=0.5)
    matrix = np.array(result["slides"]["a"]["confusion"])
    assert matrix[:3].sum(axis=1).tolist() == [5000, 0, 5000]
    assert matrix.sum() == 200 * 200
    assert result["pooled"]["pixels"] == 10_000
    assert 0 <= result["pooled"]["calibration"]["error"] <= 1
