"""Several processes on one folder: one works, the others are told so, and a dead one bars nobody."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from unlucky.commands import TRAIN, assert_one_sentence, assert_same_run, draw_data, run, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data(tmp_path_factory.mktemp("locks") / "data")


def test_of_four_trainings_in_one_folder_one_is_done_and_three_are_told(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    processes = [start("train", data, "--out", out, "--no-report", *TRAIN, "--seed", str(seed)) for seed in range(4)]
    ends = [(process.communicate(timeout=600), process.returncode) for process in processes]
    winners = [seed for seed, (_, code) in enumerate(ends) if code == 0]
    assert len(winners) == 1
    for (printed, err), code in ends:
        if code:
            assert code == 2, err
            assert "at work in" in err or "already holds a run" in err
            assert "written" not in printed
    assert f"seed: {winners[0]}" in (out / "config.yaml").read_text()
    assert run("train", data, "--out", tmp_path / "same", "--no-report", *TRAIN, "--seed", str(winners[0]))[0] == 0
    assert_same_run(out, tmp_path / "same")


def test_a_lock_left_by_sigkill_is_taken_over_at_once(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start("train", data, "--out", out, "--no-report", *TRAIN)
    while not (out / "checkpoints" / "resume.ckpt").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGSTOP)
    code, printed = run("train", data, "--out", out, "--no-report", "--resume")
    assert_one_sentence(code, printed, f"({process.pid} on ")
    process.kill()
    process.communicate()
    assert (out / ".lock").exists()
    code, printed = run("train", data, "--out", out, "--no-report", "--resume")
    assert code == 0, printed
    assert not (out / ".lock").exists()
