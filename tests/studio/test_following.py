"""How far a training has come is read from its run folder, while it trains and after, by any server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from histoproto.config import load_settings
from histoproto.methods.registry import PRESETS
from histoproto.studio.following import MOST_POINTS, Progress, follow
from histoproto.studio.jobs import Jobs
from histoproto.studio.project import Project, ProjectSettings

HISTORY = "step,epoch,total,learning_rate,val_map\n2,0.5,1.5,0.1,\n4,1.0,1.25,0.05,\n4,1.0,,,0.75\n"


def write(run: Path, **content: str) -> None:
    run.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        ending = {"config": "yaml", "history": "csv"}.get(name, "json")
        (run / f"{name}.{ending}").write_text(text)


def test_one_stage_from_nothing_to_its_end(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert [(one.title, one.state, one.progress, one.curves) for one in follow(run)] == [("", "preparing", None, {})]
    write(run, config=load_settings().to_yaml(), progress=json.dumps({"step": 0, "steps": 40, "left": None}))
    assert follow(run)[0].state == "training"
    write(run, history=HISTORY, progress=json.dumps({"step": 5, "steps": 40, "left": 12.5}))
    (stage,) = follow(run)
    assert (stage.state, stage.progress) == ("training", Progress(5, 40, 12.5))
    assert stage.curves["total"] == [(2.0, 1.5), (4.0, 1.25)]
    assert stage.curves["val_map"] == [(4.0, 0.75)]
    (run / "progress.json").unlink()
    assert follow(run)[0].state == "finishing"
    write(run, model="{}")
    assert (follow(run)[0].state, follow(run)[0].progress) == ("done", None)


@pytest.mark.parametrize("name", ["progress.json", "history.csv", "config.yaml"])
def test_a_file_that_cannot_be_read_is_as_if_it_were_not_there(tmp_path: Path, name: str) -> None:
    write(tmp_path, config=load_settings().to_yaml(), history=HISTORY, progress='{"step": 5, "steps": 40, "left": 1}')
    (tmp_path / name).write_text('{"step": "\x00')
    (stage,) = follow(tmp_path)
    assert bool(stage.progress) == (name != "progress.json")
    assert bool(stage.curves) == (name != "history.csv")


@pytest.mark.parametrize(
    ("settings", "folder", "words"),
    [
        (load_settings(overrides=["method=pbip"], presets=PRESETS), "first-stage", ["pbip on image labels", "masks"]),
        (load_settings(overrides=["training.tuning=head-first"]), "head", ["frozen encoder", "encoder and head"]),
    ],
)
def test_two_stages_say_which_is_under_way(tmp_path: Path, settings: object, folder: str, words: list[str]) -> None:
    write(tmp_path, config=settings.to_yaml())  # type: ignore[attr-defined]
    write(tmp_path / folder, history=HISTORY, progress='{"step": 4, "steps": 8, "left": 1}')
    stages = follow(tmp_path)
    assert [stage.state for stage in stages] == ["training", "waiting"]
    for stage, said in zip(stages, words, strict=True):
        assert said in stage.title
    write(tmp_path / folder, model="{}")
    assert [stage.state for stage in follow(tmp_path)] == ["done", "preparing"]
    write(tmp_path, history=HISTORY, progress='{"step": 4, "steps": 8, "left": 1}')
    assert [stage.state for stage in follow(tmp_path)] == ["done", "training"]


def test_a_long_curve_is_thinned(tmp_path: Path) -> None:
    rows = "".join(f"{step},{1 / step}\n" for step in range(1, 2000))
    write(tmp_path, history=f"step,total\n{rows}")
    assert len(follow(tmp_path)[0].curves["total"]) <= MOST_POINTS


def test_another_server_follows_the_training_that_goes_on(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", ProjectSettings.of(["tumour", "stroma"]))
    assert Jobs(project).training() == []
    run = project.folder / "models" / "1"
    Jobs(project)._begin(project.folder / "logs" / "train-1.json", ["train", "nowhere", "--out", str(run)])
    write(run, history=HISTORY, progress='{"step": 4, "steps": 8, "left": 1}')
    (stage,) = Jobs(project).training()
    assert stage.progress == Progress(4, 8, 1)
