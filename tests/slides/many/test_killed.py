"""Processes that are killed, interrupted, or two on one folder: the next run mends it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from histoproto.slides.many.lock import slide_lock
from slides.many.bad_day import SlowNetwork, assert_complete, fork, segment, states, until, write_slide


def test_killed_in_the_middle_of_a_slide(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slides, out = tmp_path / "slides", tmp_path / "out"
    for name in "abc":
        write_slide(slides / f"{name}.tif")
    monkeypatch.setattr(SlowNetwork, "seconds", 0.05)
    process = fork(lambda: segment(run, slides, out))
    until(lambda: (out / "a" / "record.json").exists())
    until(lambda: list(out.glob(".b*.partial/*")))
    process.kill()
    process.join()
    assert {path.name for path in out.iterdir() if path.name[0] != "."} == {"a"}
    assert list(out.glob(".b*.partial"))
    monkeypatch.setattr(SlowNetwork, "seconds", 0)
    assert states(segment(run, slides, out)) == {"a": "finished", "b": "done", "c": "done"}
    assert_complete(out, "a", "b", "c")


def test_killed_between_the_last_file_and_the_lock(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_slide(tmp_path / "a.tif")
    segment(run, tmp_path / "a.tif", out)

    def hold() -> None:
        with slide_lock(out, "a"):
            time.sleep(60)

    process = fork(hold)
    until(lambda: (out / ".a.lock").exists())
    assert states(segment(run, tmp_path / "a.tif", out)) == {"a": "finished"}
    assert (out / ".a.lock").exists()  # its holder lives
    process.kill()
    process.join()
    assert states(segment(run, tmp_path / "a.tif", out)) == {"a": "finished"}
    assert_complete(out, "a")


def test_interrupted_by_the_user(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    write_slide(tmp_path / "a.tif")
    monkeypatch.setattr(SlowNetwork, "seconds", 0.3)
    process = fork(lambda: segment(run, tmp_path / "a.tif", out))
    until(lambda: list(out.glob(".a*.partial/*")))
    assert process.pid
    os.kill(process.pid, signal.SIGINT)
    process.join(10)
    assert process.exitcode == 1  # of the KeyboardInterrupt, which the command line answers
    assert not list(out.iterdir())


def test_two_processes_on_one_folder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slides, out, names = tmp_path / "slides", tmp_path / "out", "abcd"
    for name in names:
        write_slide(slides / f"{name}.tif", 120, 160)
    monkeypatch.setattr(SlowNetwork, "seconds", 0.02)

    def work(number: int) -> None:
        (tmp_path / f"{number}.json").write_text(json.dumps(states(segment(run, slides, out))))

    processes = [fork(lambda number=number: work(number)) for number in range(2)]  # type: ignore[misc]
    for process in processes:
        process.join()
    first, second = (json.loads((tmp_path / f"{number}.json").read_text()) for number in range(2))
    for name in names:
        assert sorted((first[name], second[name])) == ["done", "finished"]
    assert "done" in first.values()
    assert "done" in second.values()
    assert_complete(out, *names)
