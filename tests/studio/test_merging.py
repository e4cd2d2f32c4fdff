"""Two projects become one, with every event of both, once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from histoproto.errors import DataError, OutputError
from histoproto.studio.merging import merge_projects
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.records import SlideRow


def project_of(folder: Path, slide: str = "a", width: int = 1280, seed: int = 0) -> Project:
    made = Project.create(folder, ProjectSettings.of(["tumour", "stroma"], seed=seed))
    add(made, slide, width)
    return made


def add(project: Project, slide: str, width: int = 1280) -> None:
    tiles = [(128.0 * index, 0.0, 128.0, project.is_check(slide, index)) for index in range(10)]
    project.store.add_slide(SlideRow(slide, Path(f"/slides/{slide}.svs"), 0.5, width, 128), tiles)


def test_all_that_both_say_is_there_once_and_the_later_stands(tmp_path: Path) -> None:
    one = project_of(tmp_path / "one")
    one.store.say("AB", 1, "label", ["tumour"])
    one.store.say("AB", 2, "label", ["tumour"])
    one.store.close()
    shutil.copytree(tmp_path / "one", tmp_path / "two")  # a colleague goes on from a copy
    two = Project.open(tmp_path / "two")
    add(two, "b")
    two.store.say("CD", 2, "label", ["stroma"])
    two.store.say("CD", 3, "label", ["stroma"])
    two.store.undo("CD")
    two.store.say("CD", 15, "unsure")
    two.store.embed([15, 3], np.arange(8, dtype=np.float16).reshape(2, 4))
    two.store.close()
    found = merge_projects(tmp_path / "two", tmp_path / "one", tmp_path / "three")
    assert (found.tiles, found.events, found.conflicts) == (3, 6, 1)
    three = Project.open(tmp_path / "three")
    tiles, labels = three.store.tiles(), three.store.labels()
    stand = {(tiles[n].slide, tiles[n].x): (label.verdict, label.ticks, label.who) for n, label in labels.items()}
    assert stand == {
        ("a", 0.0): ("label", ("tumour",), "AB"),
        ("a", 128.0): ("label", ("stroma",), "CD"),
        ("b", 512.0): ("unsure", (), "CD"),
    }
    numbers, vectors = three.store.embeddings()
    assert {(tiles[n].slide, tiles[n].x): v.tolist() for n, v in zip(numbers.tolist(), vectors, strict=True)} == {
        ("b", 512.0): [0, 1, 2, 3],
        ("a", 256.0): [4, 5, 6, 7],
    }
    assert three.store.count_events() == 6


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    for name, more in (("one", {}), ("seed", {"seed": 1}), ("other", {"width": 999})):
        project_of(tmp_path / name, **more).store.close()  # type: ignore[arg-type]
    with pytest.raises(DataError, match="their seed differ"):
        merge_projects(tmp_path / "one", tmp_path / "seed", tmp_path / "out")
    with pytest.raises(DataError, match="is another one than that of"):
        merge_projects(tmp_path / "one", tmp_path / "other", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="is there already"):
        merge_projects(tmp_path / "one", tmp_path / "one", tmp_path / "seed")
    with pytest.raises(DataError, match="is no project"):
        merge_projects(tmp_path / "one", tmp_path / "nothing", tmp_path / "out")
