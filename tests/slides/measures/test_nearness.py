from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from scipy.ndimage import distance_transform_edt

from histoproto.slides.measures import nearness
from histoproto.slides.measures.nearness import cell_side, near_counts
from histoproto.slides.measures.part import parts_of
from histoproto.slides.regions.geojson import Region
from slides.measures.drawn import Labels, disc, half_plane, raster_of


def near(labels: Labels, folder: Path, um: float, other: int = 1, mpp: float = 0.5, tissues: int = 2) -> np.ndarray:
    with raster_of(labels, folder) as raster:
        return near_counts(raster, parts_of(raster)[0], tissues, other, um, mpp)


@pytest.mark.parametrize("um", [5, 20, 37, 100])
@pytest.mark.parametrize("degrees", [0, 15, 30, 45, 70, 90])
def test_beside_a_straight_border(um: float, degrees: float, tmp_path: Path) -> None:
    """In a disc around the middle of the border, what is within a distance is the half disc less a segment."""
    side, radius = 600, 280
    labels = np.where(half_plane(side, side, degrees), 1, 0).astype(np.uint8)
    outside = ~disc(side, side, side / 2, side / 2, radius)
    labels[outside & (labels == 0)] = 2
    found = near(labels, tmp_path, um)
    pixels = um / 0.5
    segment = radius**2 * np.arccos(pixels / radius) - pixels * np.sqrt(radius**2 - pixels**2)
    wanted = np.pi * radius**2 / 2 - segment
    assert abs(found[0] - wanted) / (2 * radius) < 0.35 * cell_side(um, 0.5)  # a third of a cell along the border
    assert found[1] == 0


def test_around_a_disc(tmp_path: Path) -> None:
    labels = disc(900, 900, 450, 450, 200).astype(np.uint8)
    found = near(labels, tmp_path, 100)[0]
    assert found == pytest.approx(np.pi * (400**2 - 200**2), rel=0.007)


def test_on_single_pixels_as_the_definition_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against one distance transform of the whole map, in strips of few rows."""
    monkeypatch.setattr(nearness, "AT_ONCE", 200)
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2, 3], p=[0.5, 0.01, 0.3, 0.19], size=(83, 61)).astype(np.uint8)
    within = np.clip(4.75 - distance_transform_edt(labels != 1), 0, 1)
    found = near(labels, tmp_path, 4.0, mpp=1.0, tissues=3)
    assert found == pytest.approx([within[labels == 0].sum(), 0, within[labels == 2].sum()])


def test_strips_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides that are no multiple of a cell, too."""
    labels = np.where(half_plane(403, 331, 30), 1, 0).astype(np.uint8)
    labels[disc(403, 331, 100, 200, 50)] = 1
    whole = near(labels, tmp_path, 30)
    monkeypatch.setattr(nearness, "AT_ONCE", 2000)
    assert near(labels, tmp_path, 30) == pytest.approx(whole)


def test_nothing_is_near_what_is_not_there(tmp_path: Path) -> None:
    assert near(np.zeros((50, 50), np.uint8), tmp_path, 10).tolist() == [0, 0]


def test_what_lies_outside_of_a_region_is_near_it_all_the_same(tmp_path: Path) -> None:
    """A region of stroma beside tumour that is not in it."""
    labels = np.zeros((200, 300), np.uint8)
    labels[:, :100] = 1
    with raster_of(labels, tmp_path) as raster:
        part = parts_of(raster, [Region(shapely.box(120, 50, 200, 150), "hot")])[1]
        assert near_counts(raster, part, 2, 1, 20, 0.5) == pytest.approx([20 * 100, 0], rel=0.02)  # columns 120 to 139
        far = parts_of(raster, [Region(shapely.box(160, 50, 200, 150), "cold")])[1]
        assert near_counts(raster, far, 2, 1, 20, 0.5).tolist() == [0, 0]
