"""Commands beside the page live on, and the next server knows how they ended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from histoproto.errors import DataError, SettingError
from histoproto.studio.jobs import Jobs
from histoproto.studio.project import Project, ProjectSettings


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
