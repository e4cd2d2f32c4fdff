"""The table of a comparison says what its runs say."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fabricated import fabricate, random_matrices
from histoproto.cli.app import app
from histoproto.compare.plan import Plan, Variant
from histoproto.compare.table import compare, markdown, write_table

RNG = np.random.default_rng(0)


def test_the_table_says_what_the_runs_say(comparison: tuple[Plan, Path]) -> None:
    plan, out = comparison
    found = write_table(plan, out)
    with (out / "comparison.csv").open(encoding="utf-8") as file:
        lines = {(line["method"], line["seed"]): line for line in csv.DictReader(file)}
    assert len(lines) == 5
    assert lines["lpd", "1"]["run"] == "lpd/seed-1"
    assert lines["lpd:2", "0"]["coverage"] == ""
    text = (out / "comparison.md").read_text(encoding="utf-8")
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    header, rows = table[0], {row[0]: row for row in table[2:5]}
    mious = [float(lines["lpd", seed]["miou"]) for seed in "01"]
    assert rows["lpd"][header.index("mIoU")] == f"{100 * np.mean(mious):.1f} ± {100 * np.std(mious, ddof=1):.1f}"
    assert rows["lpd"][header.index("coverage")] == "0.50 ± 0.35"
    assert rows["lpd:2"][header.index("coverage")] == "–"
    assert rows["K=3"][header.index("seeds")] == "1"
    assert rows["K=3"][header.index("oracle mIoU")] == "80.0"
    assert rows["lpd:2"][header.index("min")] == "2.0 ± 0.0"
    assert rows["lpd:2"][header.index("GiB")] == "2.0 ± 0.0"
    assert "boundary IoU" not in header  # no run has it
    assert header.index("red") == header.index("mIoU") + 1
    assert "predicted labels, background ignored, one view, no CRF; 12 test patches of 5 regions" in text
    assert text.index("Protocol") < text.index("| method")
    assert "1 of 6 runs are not finished" in text
    assert found.notes == (
        "1 of 6 runs are not finished; see the column 'seeds'.",
        "There are only 5 test regions: intervals from so few are too narrow.",
    )
    assert "Two stages" not in text
    (out / "lpd-2" / "seed-0" / "first-stage").mkdir()
    assert "trained on the masks of the first: lpd:2; their" in markdown(compare(plan, out))

    record = out / "lpd-2" / "seed-0" / "record.json"
    shutil.copy(record, out / "lpd-2" / "seed-0" / "first-stage")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"epochs": 3}))
    assert not any("epochs" in note for note in compare(plan, out).notes)  # the second stage may be shorter
    record.with_name("first-stage").joinpath("record.json").write_text(record.read_text())
    assert any("differ in epochs (6 in lpd, lpd:2, K=3; 3 in lpd:2)" in note for note in compare(plan, out).notes)


def test_a_table_without_runs(tmp_path: Path, data: Path) -> None:
    plan = Plan.make(data, [Variant.parse("lpd")], 2)
    assert "No run is finished yet" in markdown(compare(plan, tmp_path / "out"))


def test_rows_on_another_footing_are_named(comparison: tuple[Plan, Path], data: Path) -> None:
    _, out = comparison
    more = Variant.parse("long: lpd training.epochs=9")
    fabricate(more.run(out, 0), random_matrices(0.5, RNG), more.settings)
    plan = Plan.make(data, [more], 2).added_to(out)
    note = "Not on the same footing: the rows differ in epochs (6 in lpd, lpd:2, K=3; 9 in long)."
    assert note in compare(plan, out).notes
    assert note in markdown(compare(plan, out))


def test_a_narrow_terminal_cuts_no_figure_off(
    comparison: tuple[Plan, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out = comparison
    monkeypatch.setenv("COLUMNS", "60")
    command = ["compare", str(data), "--out", str(out), "--table-only", "--no-pictures"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    with (out / "comparison.md").open(encoding="utf-8") as file:
        row = next(line for line in file if line.startswith("| lpd:2 |")).split("|")
    assert row[3].split()[0] in result.output  # mean and deviation may be on two lines
    assert row[3].split()[2] in result.output
