"""Runs of a comparison: each once, failures told, resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from histoproto.cli.app import app
from histoproto.compare.plan import Plan, Variant
from histoproto.compare.runner import Runner, Task, plan_tasks
from histoproto.data.phantom import write_phantom


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
