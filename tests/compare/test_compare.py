"""The comparison: the table says what the runs say, intervals are what a slow loop finds, and nothing runs twice."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from fakes import TISSUES, ColourNetwork, colour_card
from histoproto.cli.app import app
from histoproto.compare.bootstrap import difference_of_miou, differences, mean_iou
from histoproto.compare.charts import ChartRow, row_chart
from histoproto.compare.merge import merge, merged_markdown
from histoproto.compare.page import table_parts, write_page
from histoproto.compare.plan import Plan, Variant, make_rows, read_plan
from histoproto.compare.results import read_results
from histoproto.compare.runner import Runner, Task, plan_tasks
from histoproto.compare.table import compare, markdown, write_table
from histoproto.config import load_settings
from histoproto.data.images import write_image, write_mask
from histoproto.data.phantom import write_phantom
from histoproto.errors import RunError, SettingError
from histoproto.evaluation.confusion import scores
from histoproto.inference.segmenter import Segmenter

REGIONS = ("r0", "r1", "r2", "r3", "r4")
RNG = np.random.default_rng(0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two training and two test patches."""
    root = tmp_path / "data"
    for i in range(2):
        image = np.full((64, 64, 3), 40 * i + 90, dtype=np.uint8)
        write_image(root / "train" / f"a{i}+0[110].png", image)
        write_image(root / "test" / "img" / f"r{i}+0.png", image)
        write_mask(root / "test" / "mask" / f"r{i}+0.png", np.full((64, 64), i, dtype=np.uint8), TISSUES)
    TISSUES.write(root / "classes.yaml")
    return root


def random_matrices(skill: float, rng: np.random.Generator) -> dict[str, NDArray[np.int64]]:
    """A confusion matrix per region in which about `skill` of the pixels are right."""
    return {
        name: rng.integers(20, 60, (4, 4)) + np.diag(rng.integers(100, 300, 4) * int(100 * skill) // 20)
        for name in REGIONS
    }


def fabricate(
    run: Path,
    regions: dict[str, NDArray[np.int64]],
    settings: tuple[str, ...] = (),
    oracle: float = 0.8,
    prototypes: dict[str, Any] | None = None,
    **record: Any,
) -> None:
    """A run folder as training and measuring leave it."""
    run.mkdir(parents=True)
    chosen = load_settings(overrides=list(settings))
    (run / "config.yaml").write_text(chosen.to_yaml())
    card = colour_card().model_copy(update={"training_data": {"fingerprint": "t"}})
    (run / "model.json").write_text(card.model_dump_json())
    total = np.sum(list(regions.values()), axis=0)
    found = scores(total)
    how = {"labels": "predicted", "background": "ignored", "views": 1, "crf": False}
    honest = {
        "protocol": how,
        "data": {"patches": 12, "fingerprint": "e"},
        "scores": {"miou": found.miou, "mdice": found.mdice, "fwiou": 0.5, "boundary_iou": None, "mislabelled": 0.125},
        "classifier": {"mean_average_precision": 0.75},
        "tissues": {name: {"iou": float(iou)} for name, iou in zip(TISSUES.names, found.iou, strict=True)},
        "groups": {name: matrix.tolist() for name, matrix in regions.items()},
    }
    other = {"scores": {"miou": oracle}}
    (run / "metrics.json").write_text(json.dumps({"honest": {"test": honest}, "labels=oracle": {"test": other}}))
    (run / "prototypes.json").write_text(json.dumps(prototypes or {"from": None}))
    record = {"seconds": 120.0, "parameters": 3_200_000, "epochs": chosen.training.epochs or 6, **record}
    (run / "record.json").write_text(json.dumps(record))


@pytest.fixture
def comparison(tmp_path: Path, data: Path) -> tuple[Plan, Path]:
    """Three rows; seed 1 of the last is missing."""
    out = tmp_path / "out"
    rows = [Variant.parse(text) for text in ("lpd", "lpd:2", "K=3: lpd model.prototypes=3")]
    plan = Plan.make(data, rows, 2)
    plan.write(out)
    for variant, seed in itertools.product(rows, range(2)):
        if (variant.label, seed) != ("K=3", 1):
            skill = 0.9 if variant.second_stage else 0.5
            measures = {"from": ".", "coverage": 0.25 + seed / 2} if variant.label == "lpd" else None
            matrices = random_matrices(skill, np.random.default_rng(seed))
            fabricate(variant.run(out, seed), matrices, prototypes=measures, peak_memory_mib=2048)
    return plan, out


def test_rows_are_read_as_people_write_them(tmp_path: Path) -> None:
    config = tmp_path / "all.yaml"
    config.write_text("method: cam\nseed: 7\nmodel: {prototypes: 5}\ntraining: {epochs: 2}\n")
    rows = make_rows(["lpd"], ["no div: lpd:2 loss.diversity=0"], ["all"], config, ["training.epochs=3"])
    shared = ("model.prototypes=5", "training.epochs=2", "training.epochs=3")
    assert rows == [
        Variant("lpd", "lpd", False, shared),
        Variant("lpd:2", "lpd", True, shared),
        Variant("no div", "lpd", True, (*shared, "loss.diversity=0")),
    ]
    assert load_settings(overrides=list(rows[0].settings)).training.epochs == 3
    assert [row.folder for row in rows] == ["lpd", "lpd-2", "no-div"]
    for wrong in (["lpd model.prototypes=3"], ["a: lpd quickly"], [": lpd"]):
        with pytest.raises(SettingError):
            Plan.make(tmp_path, make_rows([], wrong), 1)
    with pytest.raises(SettingError, match=r"no method 'nosuch'; there are .*lpd"):
        make_rows(["nosuch"])
    with pytest.raises(SettingError, match="needs rows"):
        make_rows([])
    with pytest.raises(SettingError, match="'seed' is no setting of a row"):
        make_rows(["lpd"], settings=["seed=3"])
    with pytest.raises(SettingError, match=r"no setting 'model.prototype'"):
        make_rows([], ["a: lpd model.prototype=3"])


def test_rows_can_be_added_but_not_changed(tmp_path: Path, comparison: tuple[Plan, Path], data: Path) -> None:
    plan, out = comparison
    assert read_plan(out) == replace(plan, data=plan.data.resolve())
    more = Plan.make(data, [Variant.parse("K=5: lpd model.prototypes=5")], 1).added_to(out)
    assert [row.label for row in more.variants] == ["lpd", "lpd:2", "K=3", "K=5"]
    assert (more.seeds, more.reference) == (2, "K=5")
    with pytest.raises(RunError, match=r"already holds 'K=3' as lpd model.prototypes=3, not as lpd model.prototypes=4"):
        Plan.make(data, [Variant.parse("K=3: lpd model.prototypes=4")], 1).added_to(out)
    write_image(data / "train" / "a2+0[010].png", np.zeros((64, 64, 3), dtype=np.uint8))
    with pytest.raises(RunError, match="on other patches"):
        Plan.make(data, plan.variants, 1).added_to(out)
    with pytest.raises(RunError, match="holds no comparison"):
        read_plan(tmp_path)


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


def test_many_matrices_at_once_score_as_one_by_one() -> None:
    matrices = RNG.integers(0, 50, (7, 3, 4, 4))
    expected = [[scores(matrix).miou for matrix in row] for row in matrices]
    np.testing.assert_allclose(mean_iou(matrices), expected)
    matrices[..., 1, :] = 0  # the tissue is not there, though it is predicted: it does not count
    found = mean_iou(matrices)[0, 0]
    assert found == pytest.approx(np.mean([scores(matrices[0, 0]).iou[i] for i in (0, 2)]))


def test_the_interval_is_that_of_a_slow_loop() -> None:
    first, second = (RNG.integers(10, 90, (2, 6, 4, 4)) for _ in range(2))
    estimate, draws = difference_of_miou(first, second, draws=200, seed=3)

    def score(matrices: NDArray[np.int64], chosen: list[int]) -> float:
        return float(np.mean([scores(sum(matrices[s, r] for r in chosen)).miou for s in range(2)]))

    assert estimate == pytest.approx(score(first, list(range(6))) - score(second, list(range(6))))
    times = np.random.default_rng(3).multinomial(6, [1 / 6] * 6, size=200)
    slow = []
    for count in times:
        chosen = [region for region in range(6) for _ in range(count[region])]
        slow.append(score(first, chosen) - score(second, chosen))
    np.testing.assert_allclose(draws, slow)


def test_limits_of_the_interval(comparison: tuple[Plan, Path]) -> None:
    plan, out = comparison
    second, few = differences(read_results(plan, out), "lpd")
    assert (second.label, second.seeds, second.regions) == ("lpd:2", (0, 1), 5)
    assert second.interval[0] > 0  # better in every region, so in every draw
    assert second.verdict == "better"
    assert second.interval[0] < second.estimate < second.interval[1]
    assert (few.label, few.seeds) == ("K=3", (0,))  # identical runs of the seed that both have
    assert few.estimate == 0
    assert few.interval == (0, 0)
    assert few.verdict == "open"
    (worse, _) = differences(read_results(plan, out), "lpd:2")
    assert worse.estimate == pytest.approx(-second.estimate)
    assert worse.verdict == "worse"


def test_a_failure_is_told_and_does_not_stop_the_others(data: Path, tmp_path: Path) -> None:
    # The worker is the real one; what it runs fails at once, as the setting is out of range.
    rows = [Variant.parse(f"{label}: lpd model.prototypes=0") for label in ("one", "two")]
    lines: list[str] = []
    failed = Runner(data, jobs=2, tell=lines.append).run(plan_tasks(Plan.make(data, rows, 1), tmp_path / "out"))
    assert {task.name for task in failed} == {"one, seed 0", "two, seed 0"}
    assert len(lines) == 2
    assert all("FAILED: error: setting model.prototypes" in line for line in lines)
    assert lines[0].startswith("[1/2]")


def test_a_row_with_a_second_stage_begins_with_the_run_of_the_row_without(data: Path, tmp_path: Path) -> None:
    names = ("lpd:2", "cam:2", "lpd", "other: cam loss.balance=false", "pbip", "pbip:2")
    tasks = plan_tasks(Plan.make(data, [Variant.parse(name) for name in names], 2), tmp_path)
    assert [task.variant.label for task in tasks[:6]] == ["lpd", "other", "pbip", "lpd:2", "cam:2", "pbip:2"]
    firsts = {(task.variant.label, task.seed): task.first for task in tasks if task.first is not None}
    assert firsts == {("lpd:2", seed): tmp_path / "lpd" / f"seed-{seed}" for seed in (0, 1)}


def test_a_second_stage_waits_for_its_first(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = "short: lpd:2 training.second_stage_epochs=1"
    tasks = plan_tasks(Plan.make(data, [Variant.parse(name) for name in ("lpd", "lpd:2", short, "cam")], 1), tmp_path)
    events: list[str] = []

    def one(runner: Runner, task: Task) -> int:
        events.append(f"begin {task.variant.label}")
        time.sleep(0.05)
        events.append(f"end {task.variant.label}")
        return 0

    monkeypatch.setattr(Runner, "_one", one)
    assert Runner(data, jobs=2, tell=lambda line: None).run(tasks) == []
    assert sorted(events[:2]) == ["begin cam", "begin lpd"]
    assert len(events) == 8
    for second in ("lpd:2", "short"):
        assert events.index(f"begin {second}") > events.index("end lpd")


def test_only_what_is_not_finished_is_run(
    comparison: tuple[Plan, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = comparison
    ran: list[str] = []
    monkeypatch.setattr(Runner, "run", lambda self, tasks: ran.extend(task.name for task in tasks) or [])
    command = ["compare", str(data), "--out", str(out), "--no-pictures"]
    result = CliRunner().invoke(app, [*command, "--table-only"])
    assert result.exit_code == 0, result.output
    assert not ran
    assert "lpd:2" in result.output

    command += ["--methods", "lpd", "--seeds", "2", "--row", "K=3: lpd model.prototypes=3"]
    CliRunner().invoke(app, command)
    assert len(ran) == 4  # what was measured was measured on other patches than these
    ran.clear()
    for path in out.rglob("metrics.json"):
        path.write_text(path.read_text().replace('"fingerprint": "e"', f'"fingerprint": "{plan.fingerprints["test"]}"'))
    result = CliRunner().invoke(app, command)
    assert "3 of 4 runs are finished already" in result.output
    assert ran == ["K=3, seed 1"]
    ran.clear()
    CliRunner().invoke(app, [*command, "--paper"])
    assert len(ran) == 4


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


def test_rows_of_a_chart_stand_where_their_values_are() -> None:
    rows = [ChartRow("a<b", (1.0, 3.0), 2.0), ChartRow("c", (-1.5,), None, (-2.0, 1.0), "worse")]
    svg = ElementTree.fromstring(row_chart(rows, "x & y", zero=True))
    dots = [float(str(dot.get("cx"))) for dot in svg.iter("circle")]
    ticks = {t.text: float(str(t.get("x"))) for t in svg.iter("text") if t.get("text-anchor") == "middle"}
    assert dots[0] == pytest.approx(ticks["1"], abs=0.1)
    assert dots[1] == pytest.approx(ticks["3"], abs=0.1)
    assert dots[2] == pytest.approx((ticks["-2"] + ticks["-1"]) / 2, abs=0.1)
    (interval,) = [line for line in svg.iter("line") if line.get("class") == "interval"]
    assert [float(str(interval.get(key))) for key in ("x1", "x2")] == pytest.approx([ticks["-2"], ticks["1"]], abs=0.1)
    (zero,) = [line for line in svg.iter("line") if line.get("class") == "zero"]
    assert float(str(zero.get("x1"))) == ticks["0"]
    assert svg.get("aria-label") == "x & y"


def test_a_chart_leaves_room_for_long_labels() -> None:
    label = "lpd+mosaic:2, new encoder"
    svg = ElementTree.fromstring(row_chart([ChartRow(label, (1.0, 3.0))], "x"))
    (found,) = [float(str(text.get("x"))) for text in svg.iter("text") if text.text == label]
    assert found >= 7.5 * len(label)  # a letter of the page is about so wide
    assert all(float(str(line.get("x1"))) > found for line in svg.iter("line"))


def test_the_page_shows_every_method_beside_the_same_images(
    comparison: tuple[Plan, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = comparison
    rng = np.random.default_rng(1)
    for i in range(12):
        truth = np.kron(rng.integers(0, 3, (2, 2)), np.ones((32, 32), dtype=int)).astype(np.uint8)
        shown = np.where((np.arange(64) < 4 * i)[:, None], truth, 0)  # the higher the number, the more can be found
        write_image(data / "test" / "img" / f"s{i}+0.png", np.eye(3)[shown].astype(np.uint8) * 160 + 40)
        write_mask(data / "test" / "mask" / f"s{i}+0.png", truth, TISSUES)
    loaded: list[Path] = []

    def load(cls: type[Segmenter], run: Path, device: str = "auto") -> Segmenter:
        loaded.append(run)
        return cls(ColourNetwork(), colour_card(64), device)

    monkeypatch.setattr(Segmenter, "load", classmethod(load))
    page = write_page(plan, out).read_text(encoding="utf-8")
    assert loaded == [out / "lpd" / "seed-0", *(row.run(out, 0) for row in plan.variants)]
    assert page.count('alt="ground truth"') == 9
    for row in plan.variants:
        assert page.count(f'alt="mask of {row.label}"') == 9
    scores_shown = [float(text) for text in re.findall(r"<figcaption>lpd<br>([\d.]+) %", page)]
    assert scores_shown == sorted(scores_shown, reverse=True)
    assert scores_shown[0] > scores_shown[-1]
    for rank in ("best", "median", "worst"):
        assert page.count(f"<b>{rank}</b>") == 3
    assert 'class="better">better' in page
    assert "1 of 6 runs are not finished" in page
    assert all(source.startswith(("data:image/", "#")) for source in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert not re.search(r"<script|@import|url\(|<link|https?://", page)
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(re.findall(r'id="([^"]*)"', page))

    plain = write_page(plan, out, pictures=False).read_text(encoding="utf-8")
    assert "<img" not in plain
    empty = Plan.make(data, [Variant.parse("none: lpd")], 1)
    with pytest.raises(RunError, match="no finished run"):
        write_page(empty, out)


def test_the_best_of_a_column_is_the_best_that_is_shown(comparison: tuple[Plan, Path]) -> None:
    plan, out = comparison
    parts = {part.name: part for part in table_parts(compare(plan, out))}
    assert list(parts) == ["Scores", "Tissues", "Prototypes", "Cost"]
    best = {
        column.key: [row[0] for row in part.rows if row[2][i].best]
        for part in parts.values()
        for i, column in enumerate(part.columns)
    }
    assert best["miou"] == ["lpd:2"]
    assert best["mislabelled"] == ["lpd", "lpd:2", "K=3"]  # all alike
    assert best["coverage"] == []  # no other has any


def test_data_sets_are_averaged_seed_by_seed(comparison: tuple[Plan, Path], tmp_path: Path, data: Path) -> None:
    plan, out = comparison
    other = tmp_path / "other"
    rows = [Variant.parse(text) for text in ("K=3: lpd model.prototypes=3", "lpd", "cam: lpd", "lpd:2")]
    rng = np.random.default_rng(5)
    second = Plan.make(data, rows, 2)
    second.write(other)
    for variant in rows:
        for seed in (1, 0):
            fabricate(variant.run(other, seed), random_matrices(0.7, rng))
    merged = merge([out, other])
    assert merged.labels == ("lpd", "lpd:2", "K=3")
    values = [
        [r.values["miou"] for r in read_results(p, o) if r.variant.label == "lpd:2"]
        for p, o in ((plan, out), (second, other))
    ]
    average = 100 * np.mean(values, axis=0)
    first, other_cell, both = merged.scores["lpd:2"]
    assert first.mean == pytest.approx(100 * np.mean(values[0]))
    assert other_cell.spread == pytest.approx(100 * np.std(values[1], ddof=1))
    assert (both.mean, both.spread) == pytest.approx((average.mean(), average.std(ddof=1)))
    assert np.isnan(merged.scores["K=3"][2].spread)  # one common seed
    difference = merged.differences[0]
    singles = [
        next(d for d in compare(p, o).differences if d.label == "lpd:2")
        for p, o in ((plan, out), (replace(second, reference="lpd"), other))
    ]
    assert difference.estimate == pytest.approx(np.mean([one.estimate for one in singles]))
    assert difference.draws.mean() == pytest.approx(np.mean([one.draws.mean() for one in singles]))
    # Independent draws: variances of the data sets add up.
    expected = np.sum([one.draws.var() for one in singles]) / 4
    assert difference.draws.var() == pytest.approx(expected, rel=0.15)
    text = merged_markdown(merged)
    assert f"| lpd:2 | {first} | {other_cell} | {both} |" in text
    assert "data: 1 of 6 runs are not finished" in text
    Plan.make(data, [Variant.parse("alone: lpd")], 1).write(tmp_path / "alone")
    with pytest.raises(RunError, match="no row with finished runs in all of"):
        merge([out, tmp_path / "alone"])


@pytest.mark.slow
def test_a_killed_comparison_goes_on_and_a_finished_run_is_never_repeated(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    write_phantom(data, train=96, val=0, test=8, size=64)
    command = [sys.executable, "-m", "histoproto", "compare", str(data), "--out", str(out), "--seeds", "1"]
    command += ["--methods", "lpd", "--row", "plain: cam loss.balance=false", "--set"]
    command += ["training.epochs=1", "--set", "training.checkpoint_every=1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None,  # as a script's `command &` does
    )
    started = out / "lpd" / "seed-0" / "checkpoints" / "resume.ckpt"
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130
    assert not (out / "lpd" / "seed-0" / "model.json").exists()
    assert not (out / "plain").exists()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(out) not in left

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[2/2] plain, seed 0: mIoU" in done.stdout
    record = json.loads((out / "lpd" / "seed-0" / "record.json").read_text())
    assert record["resumed"]
    files = [path for path in out.rglob("*") if path.name in ("model.json", "metrics.json", "prototypes.json")]
    assert len(files) == 6
    times = {path: path.stat().st_mtime_ns for path in files}
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0, again.stderr
    assert times == {path: path.stat().st_mtime_ns for path in files}
