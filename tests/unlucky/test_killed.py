"""SIGKILL at any moment: what goes on afterwards ends as if nothing had happened, and nothing is left running."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unlucky.commands import SETTINGS, TRAIN, assert_same_run, draw_data, run, start

KILLS = 12
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data(tmp_path_factory.mktemp("killed") / "data")


def test_train_killed_at_random_moments_ends_bit_equal(data: Path, tmp_path: Path) -> None:
    run("--version")  # so that what is forked has imported everything, and the time below is that of the training
    begun = time.monotonic()
    code, printed = run("train", data, "--out", tmp_path / "whole", "--no-report", *TRAIN)
    assert code == 0, printed
    whole, lasted = tmp_path / "whole", time.monotonic() - begun
    rng, kills, attempt = random.Random(0), 0, 0
    while kills < KILLS:
        attempt += 1
        out = tmp_path / f"run{attempt}"
        for _ in range(20):
            resume = ["--resume"] if (out / "config.yaml").exists() else TRAIN
            process = start("train", data, "--out", out, "--no-report", *resume)
            try:
                _, err = process.communicate(timeout=rng.uniform(0.3, 1.0) * lasted)
                assert process.returncode == 0, err
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
        assert_same_run(out, whole)
        assert not [path for path in out.rglob("*") if "partial" in path.name or path.name == ".lock"]


def test_a_killed_compare_leaves_nothing_running_and_goes_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = [part for setting in (*SETTINGS, "training.epochs=40") for part in ("--set", setting)]
    command = ["compare", data, "--out", out, "--methods", "cam,lpd", "--seeds", "1", "--jobs", "2", "--no-pictures"]
    for _ in range(2):
        words = [sys.executable, "-m", "histoproto", *map(str, command), *settings]  # what `ps` shows of it
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        reached = time.monotonic()
        while len(list(out.glob("*/seed-0/checkpoints/resume.ckpt"))) < 2:
            assert process.poll() is None
            assert time.monotonic() - reached < 300
            time.sleep(0.1)
        time.sleep(1)
        process.kill()
        process.wait()
        for _ in range(150):
            left = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True, check=True).stdout
            running = [line for line in left.splitlines() if str(out) in line and not line.startswith("Z")]
            if not running:
                break
            time.sleep(0.1)
        assert not running
    assert not list(out.glob("*/seed-0/model.json"))
    code, printed = run(*command, *settings)
    assert code == 0, printed
    assert len(list(out.glob("*/seed-0/model.json"))) == 2


def test_predict_killed_in_the_middle_may_be_given_again(data: Path, tmp_path: Path) -> None:
    assert run("train", data, "--out", tmp_path / "run", "--no-report", *TRAIN)[0] == 0
    command = ["predict", tmp_path / "run", data / "train", "--out", tmp_path / "out"]
    process = start(*command)
    while not list((tmp_path / "out").glob("mask/*.png")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    code, printed = run(*command)
    assert code == 0, printed
    assert len(list((tmp_path / "out" / "mask").glob("[!.]*.png"))) == 24
