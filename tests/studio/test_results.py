"""Areas and ratios of mapped slides are those that `segment` wrote, and no other file is handed out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from histoproto.errors import DataError
from histoproto.slides.export import AreaRow, Failure, write_areas, write_summary
from histoproto.slides.measures.measurement import Measurement
from histoproto.slides.measures.table import write_measures
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.records import SlideRow
from histoproto.studio.results import result_file, results


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "project", ProjectSettings.of(["tumour", "stroma"]))
    for name in ("s2", "s10", "gone"):
        (tmp_path / f"{name}.tif").touch() if name != "gone" else None
        made.store.add_slide(SlideRow(name, tmp_path / f"{name}.tif", 0.5, 100, 100), [])
    return made


def map_slide(project: Project, round: int, name: str, tumour: float, tsr: float) -> Path:
    folder = project.folder / "maps" / f"{round:04d}" / name
    folder.mkdir(parents=True)
    rows = [
        AreaRow("slide", "tumour", 100, 100 * tumour / 4, tumour, 20.0),
        AreaRow("slide", "stroma", 300, 100 - 100 * tumour / 4, 4 - tumour, 40.0),
        AreaRow("slide", "background", 7, math.nan, 1.5),
        AreaRow("1 Core", "tumour", 5, 100.0, 77.0),
    ]
    write_areas(folder / "areas.csv", rows)
    measured = [Measurement("slide", "TSR", "stroma", "tumour", math.nan, tsr, "%")]
    write_measures(folder / "measures.csv", {name: measured})
    tissues = [{"name": tissue, "colour": "#123456"} for tissue in ("tumour", "stroma")]
    record = {"slide": f"/{name}.tif", "seconds": 1.0, "windows": 1, "tissues": tissues, "notes": ["chosen"]}
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def test_nothing_is_told_before_there_are_maps(project: Project) -> None:
    assert results(project) is None


def test_slides_appear_as_they_are_finished(project: Project) -> None:
    map_slide(project, 1, "s2", 3.0, 25.0)
    map_slide(project, 2, "s10", 1.0, 75.0)
    (project.folder / "maps" / "0002-slides.csv").touch()
    found = results(project)
    assert found is not None
    assert (found["round"], found["of"], [one["name"] for one in found["slides"]]) == (2, 2, ["s10"])
    map_slide(project, 2, "s2", 2.0, math.nan)
    found = results(project)
    assert found is not None
    assert json.dumps(found, allow_nan=False)
    first, second = found["slides"]
    assert (first["name"], second["name"]) == ("s2", "s10")
    assert (first["shares"], second["shares"]) == ({"TSR": None}, {"TSR": 75.0})
    assert second["mm2"] == {"tumour": 1.0, "stroma": 3.0}
    assert second["percent"] == {"tumour": 25.0, "stroma": 75.0}
    assert second["doubtful"] == 35.0  # 100 pixels at 20 %, 300 at 40 %
    assert second["files"] == ("areas.csv", "measures.csv")
    assert second["sentences"] == ("chosen",)


def test_what_failed_and_what_is_damaged_is_told(project: Project) -> None:
    folder = map_slide(project, 1, "s2", 3.0, 25.0)
    write_summary(folder.parent, [Failure("s10", Path("/s10.tif"), "s10.tif is damaged")])
    found = results(project)
    assert found is not None
    assert [one["problem"] for one in found["slides"]] == ["", "s10.tif is damaged"]
    assert found["files"] == ["summary.csv", "summary.html"]
    (folder / "areas.csv").write_text("region,tissue\n", encoding="utf-8")
    (folder / "record.json").touch()
    found = results(project)
    assert found is not None
    assert found["slides"][0]["problem"].startswith("its results are damaged")


def test_only_the_files_of_maps_are_handed_out(project: Project) -> None:
    folder = map_slide(project, 1, "s2", 3.0, 25.0)
    write_summary(folder.parent)
    assert result_file(project, 1, "s2", "areas.csv") == folder / "areas.csv"
    assert result_file(project, 1, "", "summary.csv") == folder.parent / "summary.csv"
    for number, slide, name in (
        (1, "s2", "record.json"),
        (1, "s2", "../../../project.yaml"),
        (1, "..", "0001-slides.csv"),
        (1, "../..", "labels.sqlite"),
        (1, "", "areas.csv"),
        (2, "s2", "areas.csv"),
        (1, "s2", "tissue.geojson"),
    ):
        with pytest.raises(DataError, match="there is no"):
            result_file(project, number, slide, name)
