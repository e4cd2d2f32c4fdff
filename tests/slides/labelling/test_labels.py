"""The label map of a slide: that of an image, whole or in strips, in the regions asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from histoproto.config import InferenceSettings
from histoproto.data.images import write_image
from histoproto.errors import DataError
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.labelling.labels import SlideLabeller
from histoproto.slides.labelling.plan import plan_windows
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.labelling.scope import MaskScope, Scope, find_scope
from histoproto.slides.reading.picture import ImageSlide
from histoproto.slides.reading.protocol import SlideReader
from slides.coloured import SIZE, Pixels, blobs

PLAIN = InferenceSettings(background="none")


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
