"""Projects that change between two starts: slides that move, tissues that get another name or come later."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from histoproto.errors import DataError, SettingError
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.task import SlideTask
from histoproto.studio.project import PROJECT_FILE, Project, ProjectSettings
from histoproto.studio.records import Tile
from histoproto.studio.rounds import finished_rounds, next_round, round_folder
from histoproto.studio.session import Session
from histoproto.studio.workers import pool_order


def slide(path: Path, width: int = 384) -> SlideTask:
    path.parent.mkdir(exist_ok=True)
    write_phantom_slide(path, width=width, height=256, mpp=1.0, field=128, distinct=2, glass=0.0)
    return SlideTask(path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    session = Session(tmp_path / "project", [slide(tmp_path / "here" / "a.tif"), slide(tmp_path / "here" / "b.tif")])
    session.begin(ProjectSettings.of(["tumour", "stroma"], mpp=1.0, tile=128))
    session.wait()
    for tile in session.next("AB", 2):
        session.say("AB", tile["tile"], "label", ["stroma"])
    session.end()
    return tmp_path / "project"


def change(project: Path, *names: str) -> None:
    content = yaml.safe_load((project / PROJECT_FILE).read_text())
    content["tissues"] = ProjectSettings.of(names).tissues
    (project / PROJECT_FILE).write_text(yaml.safe_dump(content))


def begun(project: Path, *tasks: SlideTask) -> Session:
    session = Session(project, tasks)
    session.begin()
    session.wait()
    return session


def test_a_slide_that_is_gone_is_left_out_and_named_and_found_again_elsewhere(project: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "a.tif").rename(tmp_path / "there" / "a.tif")
    session = begun(project)
    assert session.beginning.missing == {"a"}
    assert "1 of 2 slides are not where they were (a)" in session.beginning.notes[0]
    assert {tile["slide"] for tile in session.next("AB", 20)} == {"b"}
    session.end()
    session = begun(project, SlideTask(tmp_path / "there" / "a.tif"))
    assert not session.beginning.missing
    assert {tile["slide"] for tile in session.next("AB", 20)} == {"a", "b"}
    assert len(session.opened().store.slides()) == 2
    session.end()


def test_another_slide_of_the_same_name_is_refused(project: Path, tmp_path: Path) -> None:
    other = slide(tmp_path / "there" / "a.tif", width=512)
    with pytest.raises(DataError, match="both called 'a'"):
        begun(project, other)
    (tmp_path / "here" / "a.tif").unlink()
    with pytest.raises(DataError, match="another slide than 'a' of the project"):
        begun(project, other)


def test_a_tissue_that_lost_its_name_is_refused(project: Path) -> None:
    change(project, "tumour", "connective tissue")
    with pytest.raises(SettingError, match="name the tissue 'stroma', which is not among"):
        Project.open(project)


def test_a_tissue_that_came_later_is_told_and_older_rounds_do_not_count(project: Path) -> None:
    opened = Project.open(project)
    for number, names in ((1, []), (2, ["tumour", "stroma"])):  # of an older version, and of this one
        folder = round_folder(opened, number)
        folder.mkdir(parents=True)
        np.savez(folder / "guesses.npz", tiles=np.array([1]), chances=np.array([[0.5, 0.5]], np.float32))
        (folder / "score.json").write_text(json.dumps({"labels": 2, "checks": 0, "tissues": names}))
    assert finished_rounds(opened) == [1, 2]
    opened.store.close()
    change(project, "tumour", "stroma", "necrosis")
    session = begun(project)
    assert session.beginning.notes == [
        "2 labels are older than the tissue necrosis and count as without it; label those tiles again that have it"
    ]
    assert finished_rounds(session.opened()) == []
    assert next_round(session.opened()) == 3
    tile = session.next("AB")[0]["tile"]
    session.say("AB", tile, "label", ["necrosis"])
    assert session.opened().store.know_tissues(["tumour", "stroma", "necrosis"])["necrosis"] == 2
    session.end()


def test_a_project_of_a_newer_version_says_so(project: Path) -> None:
    (project / PROJECT_FILE).write_text((project / PROJECT_FILE).read_text() + "magnification: 40\n")
    with pytest.raises(SettingError, match=r"magnification is no setting .* newer version"):
        Project.open(project)


def test_one_bad_slide_does_not_stop_the_others(tmp_path: Path) -> None:
    grey, glass, good = tmp_path / "grey.png", tmp_path / "glass.png", slide(tmp_path / "here" / "a.tif")
    Image.new("RGB", (256, 256), (90, 90, 90)).save(grey)
    Image.new("RGB", (256, 256), (240, 238, 241)).save(glass)
    (tmp_path / "broken.tif").write_bytes(b"II*\0 not at all")
    tasks = [SlideTask(grey, 1.0), SlideTask(tmp_path / "broken.tif", 1.0), SlideTask(glass, 1.0), good]
    session = Session(tmp_path / "project", tasks)
    session.begin(ProjectSettings.of(["tumour", "stroma"], mpp=1.0, tile=128))
    with pytest.raises(DataError, match="grey"):
        session.wait()
    assert "broken.tif" in session.beginning.problem
    assert any(note.startswith("glass: no tissue was found") for note in session.beginning.notes)
    assert {tile["slide"] for tile in session.next("AB", 20)} == {"a"}
    session.end()


def test_a_few_tiles_of_each_slide_are_looked_at_first() -> None:
    tiles = [Tile(number, "ab"[number % 2], 0, 0, 128, False) for number in range(40)]
    few, all_ = pool_order(tiles, 0, each=3), pool_order(tiles, 0)
    assert few == all_[:6]
    assert [tile.slide for tile in few] == ["a", "b"] * 3
