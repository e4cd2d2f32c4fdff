from __future__ import annotations

import csv
import json
import math
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from histoproto.errors import OutputError
from histoproto.slides.export import AreaRow, Failure, write_areas, write_summary
from histoproto.slides.measures.measurement import Measurement
from histoproto.slides.measures.table import write_measures

COLOURS = {"tumour": "#d62728", "stroma": "#2ca02c"}


def add_slide(out: Path, name: str, tumour: float, stroma: float, seconds: float = 5.0) -> None:
    folder = out / name
    folder.mkdir(parents=True)
    total, unknown = tumour + stroma, math.nan
    rows = [
        AreaRow("slide", tissue, int(area * 4e6), 100 * area / total if total else unknown, area)
        for tissue, area in (("tumour", tumour), ("stroma", stroma))
    ]
    rows += [AreaRow("slide", "background", 4, unknown, 1.5), AreaRow("1 Tumor", "tumour", 4, 100.0, 77.0)]
    write_areas(folder / "areas.csv", rows)
    Image.new("RGB", (60, 30), "pink").save(folder / "thumbnail.jpg")
    tissues = [{"name": tissue, "colour": colour} for tissue, colour in COLOURS.items()]
    record = {"slide": f"/slides/{name}.svs", "seconds": seconds, "windows": 7, "tissues": tissues}
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.sources, self.links = "", [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "img":
            self.sources.append(found["src"])
        if tag == "a":
            self.links.append(found["href"])


def test_table_and_page_of_finished_slides(tmp_path: Path) -> None:
    add_slide(tmp_path, "b ü", 1.0, 3.0)
    add_slide(tmp_path, "a", 2.0, 0.0, seconds=7200)
    add_slide(tmp_path, "empty", 0.0, 0.0)
    (tmp_path / "in progress").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "record.json").write_text("{}", encoding="utf-8")  # a run folder, not a slide's
    add_slide(tmp_path, ".hidden.partial", 9.0, 9.0)
    write_summary(tmp_path)
    rows = table(tmp_path)
    assert list(rows) == ["a", "b ü", "empty"]
    assert rows["b ü"] == {
        "name": "b ü",
        "path": "/slides/b ü.svs",
        "state": "done",
        "tumour mm2": "1.000000",
        "tumour %": "25.000",
        "tumour doubtful %": "",
        "stroma mm2": "3.000000",
        "stroma %": "75.000",
        "stroma doubtful %": "",
        "background mm2": "1.500000",
        "doubtful %": "",
        "strange %": "",
        "seconds": "5.0",
        "tiles": "7",
        "note": "",
        "error": "",
    }
    assert rows["empty"]["tumour %"] == ""
    page = Page(tmp_path / "summary.html")
    assert "3 slides segmented" in page.text
    assert "6 mm²" in page.text
    assert "2.0 h" in page.text
    assert page.links == ["a/overview.png", "b%20%C3%BC/overview.png", "empty/overview.png"]
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert len(page.sources) == 3
    assert not [path for path in tmp_path.iterdir() if "summary" in path.name and path.name.startswith(".")]


def test_failures_stay_until_the_slide_is_done(tmp_path: Path) -> None:
    add_slide(tmp_path, "a", 2.0, 1.0)
    write_summary(tmp_path, [Failure("b", Path("/slides/b.svs"), "b.svs is <damaged>"), Failure("c", Path("c"), "no")])
    assert [(row["state"], row["error"]) for row in table(tmp_path).values()] == [
        ("done", ""),
        ("failed", "b.svs is <damaged>"),
        ("failed", "no"),
    ]
    assert "b.svs is <damaged>" in Page(tmp_path / "summary.html").text
    add_slide(tmp_path, "b", 1.0, 1.0)
    write_summary(tmp_path)  # by another process, which knows of no failure
    assert [row["state"] for row in table(tmp_path).values()] == ["done", "done", "failed"]
    assert not (tmp_path / "b.failed.json").exists()


def test_only_failures_and_nothing_at_all(tmp_path: Path) -> None:
    write_summary(tmp_path)
    assert table(tmp_path) == {}
    write_summary(tmp_path, [Failure("b", Path("b.svs"), "b.svs is damaged")])
    page = Page(tmp_path / "summary.html")
    assert "0 slides segmented, 1 failed" in page.text
    assert list(table(tmp_path)) == ["b"]


def test_slides_with_other_tissues_share_a_table(tmp_path: Path) -> None:
    add_slide(tmp_path, "a", 2.0, 1.0)
    add_slide(tmp_path, "b", 2.0, 1.0)
    record = json.loads((tmp_path / "b" / "record.json").read_text(encoding="utf-8"))
    record["tissues"] = [{"name": "gland", "colour": "#123456"}]
    (tmp_path / "b" / "record.json").write_text(json.dumps(record), encoding="utf-8")
    write_areas(
        tmp_path / "b" / "areas.csv", [AreaRow("slide", tissue, 4, 100.0, 1.0) for tissue in ("gland", "background")]
    )
    write_summary(tmp_path)
    rows = table(tmp_path)
    assert (rows["a"]["gland mm2"], rows["b"]["gland mm2"], rows["b"]["stroma %"]) == ("", "1.000000", "")


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        write_summary(tmp_path / "file")


def test_measures_of_slides_are_in_both(tmp_path: Path) -> None:
    """Of whole slides only; one that an earlier version made has none."""
    for name in "ab":
        add_slide(tmp_path, name, 1.0, 3.0)
    none = math.nan
    rows = [
        Measurement("slide", "TSR", "stroma", "tumour", none, 75.0, "%"),
        Measurement("slide", "interface", "tumour", "stroma", none, 12.25, "mm"),
        Measurement("slide", "median", "stroma", "", none, none, "mm2"),
        Measurement("1 Tumor", "TSR", "stroma", "tumour", none, 11.0, "%"),
    ]
    write_measures(tmp_path / "a" / "measures.csv", {"a": rows})
    write_summary(tmp_path)
    found = table(tmp_path)
    titles = ["TSR %", "interface tumour–stroma mm", "stroma region median mm2"]
    assert [found["a"][title] for title in titles] == ["75.000000", "12.250000", ""]
    assert [found["b"][title] for title in titles] == ["", "", ""]
    page = Page(tmp_path / "summary.html")
    assert all(title in page.text for title in titles)
    assert "12.2" in page.text
    assert "11.0" not in page.text


def test_damaged_results_are_told_and_lose_no_slide(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "d.broken"):
        add_slide(tmp_path, name, 1.0, 3.0)
    write_measures(tmp_path / "a" / "measures.csv", {})
    (tmp_path / "a" / "measures.csv").write_text("slide,region\n")
    (tmp_path / "b" / "record.json").write_text("{")
    (tmp_path / "c" / "thumbnail.jpg").unlink()
    (tmp_path / "d.broken" / "record.json").write_text("{")  # as `segment` sets it aside
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "record.json").write_text("{}")  # of something else
    write_summary(tmp_path)
    found = table(tmp_path)
    assert [row["state"] for row in found.values()] == ["done", "failed", "done", "done"]
    assert found["a"]["tumour mm2"] == found["c"]["tumour mm2"] == "1.000000"
    assert "nothing measured is shown" in found["a"]["note"]
    assert "measures.csv" in found["a"]["note"]
    assert "its results are damaged" in found["b"]["error"]
    assert "record.json" in found["b"]["error"]
    page = Page(tmp_path / "summary.html").text
    assert "nothing measured is shown" in page
    assert "its results are damaged" in page


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("slide,x\n", "no table of measures"),
        ("#!/bin/sh\ntouch x\n", "no table of measures"),
        ("slide,region,measure,tissue,other,um,value,unit\na,slide,TSR,s,t,,inf,%\n", "TSR is inf"),
        ("slide,region,measure,tissue,other,um,value,unit\na,slide,TSR,s,t,,-5,%\n", "TSR is -5"),
        ("slide,region,measure,tissue,other,um,value,unit\nother,slide,TSR,s,t,,5,%\n", "measures of a alone"),
        ("slide,region,measure,tissue,other,um,value,unit\na,slide,TSR,s,t,,5,%\nb,slide,TSR,s,t,,6,%\n", "of a alone"),
        ("slide,region,measure,tissue,other,um,value,unit\na,slide,TSR,s,t,,5,%\na,slide,TSR,s,t,,6,%\n", "each once"),
    ],
)
def test_a_slide_with_measures_that_are_not_its_own_stays_without_them(
    text: str, sentence: str, tmp_path: Path
) -> None:
    add_slide(tmp_path, "a", 1.0, 3.0)
    (tmp_path / "a" / "measures.csv").write_text(text)
    (note,) = write_summary(tmp_path)
    assert "a: nothing measured is shown" in note
    assert sentence in note
    assert table(tmp_path)["a"]["stroma mm2"] == "3.000000"
    assert "TSR %" not in table(tmp_path)["a"]
    assert sentence in Page(tmp_path / "summary.html").text


def change_record(folder: Path, **values: object) -> None:
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | values))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("tumour", 2, 2.0), ("stroma", 3, 3.0), ("background", 4, 4.0)], "does not fit record"),
        ([("tumour", 1, 1.0), ("stroma", 3, 3.5), ("background", 4, 4.0)], "does not fit record"),
        ([("tumour", 1, 1.0), ("background", 7, 7.0)], "does not fit record"),
        ([("tumour", 1, 1.0), ("gland", 3, 3.0), ("background", 4, 4.0)], "does not fit record"),
        ([("tumour", 1, 1.0), ("tumour", 3, 3.0), ("background", 4, 4.0)], "does not fit record"),
        ([("tumour", -1, 1.0), ("stroma", 5, 5.0), ("background", 4, 4.0)], "number that no area has"),
        ([("tumour", 1, 1.0), ("stroma", 3, 3.0), ("background", 4, 4.0)], None),
        ([("tumour", 1, math.nan), ("stroma", 3, 3.0), ("background", 3, 3.0), ("uncertain", 1, 1.0)], None),
    ],
)
def test_areas_that_were_changed_are_told(
    rows: list[tuple[str, int, float]], sentence: str | None, tmp_path: Path
) -> None:
    """The map has 2 × 4 pixels of a square millimetre."""
    add_slide(tmp_path, "a", 1.0, 3.0)
    change_record(tmp_path / "a", width=4, height=2, mpp=1000.0)
    write_areas(tmp_path / "a" / "areas.csv", [AreaRow("slide", name, many, 50.0, mm2) for name, many, mm2 in rows])
    notes = write_summary(tmp_path)
    assert [sentence in note for note in notes if sentence] == ([True] if sentence else [])
    assert table(tmp_path)["a"]["state"] == ("failed" if sentence else "done")


def test_what_was_left_out_or_assumed_is_on_the_page(tmp_path: Path) -> None:
    add_slide(tmp_path, "a", 2.0, 0.0)
    record = json.loads((tmp_path / "a" / "record.json").read_text())
    (tmp_path / "a" / "record.json").write_text(json.dumps(record | {"notes": ["of its 2 images <b> the largest"]}))
    write_summary(tmp_path, left_out=["left out: x.czi: Zeiss CZI is not read"])
    text = Page(tmp_path / "summary.html").text
    assert "of its 2 images <b> the largest" in text
    assert "Zeiss CZI is not read" in text
