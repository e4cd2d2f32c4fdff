"""Commands beside the page live on, and the next server knows how they ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import histoproto.studio.commands as commands_module
from histoproto.errors import DataError, SettingError
from histoproto.slides.many.progress import SlideProgress
from histoproto.slides.many.tasks import find_slides
from histoproto.studio.jobs import _WATCH, Jobs
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.records import SlideRow


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "project", ProjectSettings.of(["tumour", "stroma"]))


def test_another_server_finds_how_a_command_ended(project: Project) -> None:
    first = Jobs(project)
    first._begin(project.folder / "logs" / "train-20260101-000000.json", ["train", "nowhere", "--out", "run"])
    assert Jobs(project).state()["train"]["code"] is None
    with pytest.raises(SettingError, match="running already: histoproto train nowhere"):
        Jobs(project).start("train", 0)
    until = time.monotonic() + 120
    while first.state()["train"]["code"] is None:
        assert time.monotonic() < until
        time.sleep(0.1)
    found = Jobs(project).state()["train"]
    assert found["code"] == 2
    assert found["words"].startswith("error:")
    assert found["command"] == "histoproto train nowhere --out run"
    assert not found["report"]
    with pytest.raises(DataError, match="no report"):
        Jobs(project).report()


def test_a_stopped_command_says_so(project: Project) -> None:
    jobs = Jobs(project)
    jobs._begin(project.folder / "logs" / "segment-20260101-000000.json", ["demo", "--out", str(project.folder / "d")])
    time.sleep(0.2)
    jobs.stop("segment")
    until = time.monotonic() + 60
    while jobs.state()["segment"]["code"] is None:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert jobs.state()["segment"]["code"] != 0


def test_nothing_to_do_is_a_sentence(project: Project) -> None:
    jobs = Jobs(project)
    with pytest.raises(DataError, match="label some tiles first"):
        jobs.start("train", 0)
    with pytest.raises(DataError, match="no model of round 0"):
        jobs.start("segment", 0)
    with pytest.raises(SettingError, match="no job 'rm'"):
        jobs.start("rm", 0)
    assert jobs.state() == {}


def test_slides_are_mapped_at_the_scale_that_the_project_knows(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = project.folder / "a, b.tif"
    slide.touch()
    project.store.add_slide(SlideRow("a", slide, 0.4991, 100, 100), [])
    project.store.add_slide(SlideRow("gone", Path("/slides/gone.tif"), 0.5, 100, 100), [])
    monkeypatch.setattr(
        commands_module, "model_folder", lambda project, round: project.folder / "rounds" / "0003" / "run"
    )
    begun: list[list[str]] = []
    monkeypatch.setattr(Jobs, "_begin", lambda self, file, arguments: begun.append(arguments))
    Jobs(project).start("segment", 3)
    table = project.folder / "maps" / "0003-slides.csv"
    assert begun[0][2:] == [str(table), "--out", str(project.folder / "maps" / "0003")]
    assert [(task.path, task.mpp) for task in find_slides([table])] == [(slide, 0.4991)]


def test_how_far_the_maps_are_is_read_from_the_log(project: Project) -> None:
    jobs = Jobs(project)
    file = project.folder / "logs" / "segment-20260101-000000.json"
    jobs._begin(file, ["demo", "--out", str(project.folder / "d")])  # any command that runs for a while
    lines = ["a note", *map(str, (SlideProgress(1, 3, 99, 4, "a"), SlideProgress(2, 3, 42, 130, "b: 1, 5 %")))]
    file.with_suffix(".log").write_text("\n".join([*lines, "another note"]) + "\n", encoding="utf-8")
    try:
        found = jobs.state()["segment"]
        assert found["progress"] == {"number": 2, "of": 3, "percent": 42, "left": 130, "slide": "b: 1, 5 %"}
        assert found["words"].startswith("a note\nanother note")
    finally:
        jobs.stop("segment")
    until = time.monotonic() + 60
    while jobs.state()["segment"]["code"] is None:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert jobs.state()["segment"]["progress"] is None  # it is over


@pytest.mark.slow
def test_a_command_whose_libraries_swallow_the_first_stop_is_stopped_all_the_same(tmp_path: Path) -> None:
    deaf = "import time\nprint('there', flush=True)\ntry: time.sleep(100)\nexcept KeyboardInterrupt: time.sleep(100)"
    command = [sys.executable, "-c", _WATCH, str(tmp_path / "code"), sys.executable, "-c", deaf]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as watch:
        assert watch.stdout
        assert watch.stdout.readline() == b"there\n"
        os.killpg(watch.pid, signal.SIGINT)
        assert watch.wait(60) == 0
    assert int((tmp_path / "code").read_text()) == -signal.SIGINT
