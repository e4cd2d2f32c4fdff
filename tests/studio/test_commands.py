"""What is offered to copy can be typed as it is, whatever is in the names of files."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import histoproto.studio.commands as module
from histoproto.errors import SettingError
from histoproto.studio.commands import commands, typed
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.records import SlideRow


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)  # so that the project is named by a part of its path
    made = Project.create(Path("it's a project"), ProjectSettings.of(["tumour", "stroma"]))
    slide = tmp_path / "a; b.tif"
    slide.touch()
    made.store.add_slide(SlideRow("a", slide, 0.4991, 100, 100), [])
    return made


def words(line: str) -> list[str]:
    return shlex.split(line)


def test_before_there_is_a_model(project: Project, tmp_path: Path) -> None:
    found = commands(project, 0, "cam", 7)
    assert set(found) == {"labels", "train"}
    folder = str(tmp_path / "it's a project")
    assert words(found["labels"]) == ["histoproto", "data", "export", folder, "--out", "labels"]
    export, train = found["train"].split(" && ")
    assert export == found["labels"]
    assert words(train)[1:] == ["train", "labels", "--out", "run", "--method", "cam", "--set", "training.epochs=7"]
    assert not (project.folder / "maps").exists()


def test_with_a_model(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module, "model_folder", lambda project, round: project.folder / "rounds" / f"{round:04d}" / "run"
    )
    found = commands(project, 3)
    folder = tmp_path / "it's a project"
    run, table, out = folder / "rounds/0003/run", folder / "maps/0003-slides.csv", folder / "maps/0003"
    assert words(found["segment"]) == ["histoproto", "segment", str(run), str(table), "--out", str(out)]
    assert words(found["model"])[1:] == ["export", str(run), "--format", "zip", "--out", "model.zip"]
    assert table.read_text("utf-8").splitlines() == ["slide,mpp", f"{tmp_path}/a; b.tif,0.4991"]


def test_an_unknown_method_is_a_sentence(project: Project) -> None:
    with pytest.raises(SettingError, match="no method 'magic'"):
        commands(project, 0, "magic")


def test_names_stay_one_word() -> None:
    assert words(typed(["segment", "a b", "$(rm x)"])) == ["histoproto", "segment", "a b", "$(rm x)"]
