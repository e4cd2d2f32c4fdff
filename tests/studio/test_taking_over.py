"""Labels that are there become events: of a table by image, of drawn regions by area; people are not overruled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from histoproto.data.check import check_data
from histoproto.data.images import write_image
from histoproto.data.layouts import open_data
from histoproto.documents.tables import write_table
from histoproto.errors import DataError
from histoproto.slides.many.tasks import find_slides
from histoproto.slides.phantom import write_phantom_slide
from histoproto.studio.adding import add_slides
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.sources import find_sources
from histoproto.studio.taking_over import settings_from, take_over


def patches(folder: Path, side: int = 64) -> Path:
    """Six patches, the last but one for testing; and one that is mostly glass."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(6):
        pixels = rng.integers(60, 200, (side, side, 3), dtype=np.uint8) | np.array([64, 0, 64], np.uint8)
        pixels = pixels if index < 5 else np.full_like(pixels, 245)
        write_image(folder / f"p{index}.png", pixels)
        labels = [str(int(index % 2 == 0)), str(int(index < 3))]
        rows.append([f"p{index}.png", *labels, "test" if index == 4 else "train"])
    write_table(folder / "labels.csv", ["image", "stroma", "tumour", "split"], rows)
    return folder


def test_a_table_is_taken_over_and_comes_out_again(tmp_path: Path) -> None:
    folder = patches(tmp_path / "patches")
    settings = settings_from(folder, mpp=0.5)
    assert (settings.tile, settings.mpp) == (64, 0.5)
    project = Project.create(tmp_path / "project", settings)
    add_slides(project, find_sources([folder], 0.5))
    project.store.say("AB", 1, "label", ["stroma"])
    first = project.store.tiles()[1].slide
    found = take_over(project, folder)
    assert found.tiles == 3
    assert "1 of 6 images of val and test stay out" in " ".join(found.notes)
    assert "1 of 6 images have no tile that covers nine tenths" in " ".join(found.notes)
    assert "1 tiles have a label already and keep it" in " ".join(found.notes)
    tiles, labels = project.store.tiles(), project.store.labels()
    ticks = {tiles[tile].slide: (set(label.ticks), label.who) for tile, label in labels.items()}
    expected: dict[str, tuple[set[str], str]] = {
        "p0": ({"stroma", "tumour"}, "import"),
        "p1": ({"tumour"}, "import"),
        "p2": ({"stroma", "tumour"}, "import"),
        "p3": (set(), "import"),
    }
    assert ticks == expected | {first: ({"stroma"}, "AB")}
    assert take_over(project, folder / "labels.csv").tiles == 0

    project.export_labels(tmp_path / "out", checks=True)
    assert check_data(tmp_path / "out").problems == ()
    data = open_data(tmp_path / "out")
    assert len(data.train) + len(data.test) == 4
    assert {patch.group for patch in (*data.train, *data.test)} == {"p0", "p1", "p2", "p3"}


def test_a_table_of_other_tissues_or_other_images_is_refused(tmp_path: Path) -> None:
    folder = patches(tmp_path / "patches")
    project = Project.create(tmp_path / "project", ProjectSettings.of(["stroma", "tumour", "normal"], tile=64))
    with pytest.raises(DataError, match="they must be the same"):
        take_over(project, folder)
    other = Project.create(tmp_path / "other", settings_from(folder))
    with pytest.raises(DataError, match="none of the 5 images"):
        take_over(other, folder)
    write_image(folder / "p0.png", np.zeros((64, 80, 3), np.uint8))
    with pytest.raises(DataError, match="square and of one size"):
        settings_from(folder)


def square(left: float, top: float, right: float, bottom: float, name: str) -> dict[str, object]:
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "classification": {"name": name}},
    }


def test_drawn_regions_label_the_tiles_that_lie_in_them(tmp_path: Path) -> None:
    slide = tmp_path / "s.tif"
    write_phantom_slide(slide, width=1024, height=512, mpp=0.5, field=256, distinct=2, glass=0.0)
    # Level 0 has half the scale of the project: a tile of 128 px there is 256 px here.
    features = [
        square(0, 0, 512, 512, "Tumour"),
        square(250, 0, 300, 512, "Stroma"),  # 6 of 256 columns of the first tiles: too little; 44 of the second
        square(512, 0, 600, 512, "Stroma"),  # a third of the third tiles: the rest may be anything
    ]
    (tmp_path / "s.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    project = Project.create(tmp_path / "project", ProjectSettings.of(["tumour", "stroma"], mpp=1.0))
    add_slides(project, find_slides([slide]))
    found = take_over(project, tmp_path)
    tiles = project.store.tiles()
    ticks = {(tiles[tile].x, tiles[tile].y): set(label.ticks) for tile, label in project.store.labels().items()}
    assert ticks == {
        (0, 0): {"tumour"},
        (0, 256): {"tumour"},
        (256, 0): {"tumour", "stroma"},
        (256, 256): {"tumour", "stroma"},
    }
    assert found.tiles == 4
    assert any("4 of 8 tiles of s lie in drawn regions" in note for note in found.notes)
    assert take_over(project, tmp_path / "s.geojson").tiles == 0
    with pytest.raises(DataError, match="no annotations of a slide"):
        take_over(project, tmp_path / "project")


def test_a_folder_of_pictures_is_one_of_slides_here(tmp_path: Path) -> None:
    folder = patches(tmp_path / "patches")
    (folder / "labels.csv").unlink()
    assert [task.path.name for task in find_sources([folder], 0.5)] == [f"p{index}.png" for index in range(6)]
    with pytest.raises(DataError, match="there are no slides"):
        find_sources([tmp_path])
    write_phantom_slide(folder / "s.tif", width=256, height=256, mpp=0.5, field=256, distinct=1)
    assert [task.path.name for task in find_sources([folder], 0.5)] == ["s.tif"]
