"""Many slides: what is done, what fails alone, what is done already."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import tifffile
from filelock import SoftFileLease

from fakes import ColourNetwork, colour_card, tiny_run
from histoproto.data.images import write_image
from histoproto.errors import RunError, SettingError
from histoproto.inference.segmenter import Segmenter
from histoproto.model.half_precision import HalfPrecision
from histoproto.slides import segment
from histoproto.slides.many.batch import segment_slides
from histoproto.slides.many.job import Job, is_finished
from histoproto.slides.many.lock import slide_lock
from histoproto.slides.many.processes import Setup, in_turn
from histoproto.slides.many.tasks import find_slides
from histoproto.slides.options import SlideOptions
from histoproto.slides.task import SlideTask


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Three small slides, the second of which is cut off."""
    folder = tmp_path / "slides"
    for name in "abc":
        write_image(folder / f"{name}.png", np.full((64, 64, 3), (200, 20, 20), dtype=np.uint8))
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:60])
    return folder


def tasks_in(folder: Path) -> list[SlideTask]:
    return find_slides([folder / "*.png"])


def in_colour(*_: object) -> Segmenter:
    return Segmenter(ColourNetwork(), colour_card(mpp=0.5), device="cpu")  # type: ignore[arg-type]


def test_results_are_written_beside_the_windows_of_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slide is in hand until its files are there, no third one begins, and a failed writing is its own slide's."""
    out, begun, original = tmp_path / "out", {name: threading.Event() for name in "abc"}, segment._export

    def export(part: Path, *rest: object) -> object:
        name = part.name.split(".")[1]
        if name == "a":
            assert begun["b"].wait(20), "nothing is done while results are written"
            assert not begun["c"].wait(0.5), "three slides are in hand"
            assert not is_finished(out, "a")
            with slide_lock(out, "a") as lock:
                assert lock is None
        if name == "b":
            raise OSError(28, "No space left on device")
        return original(part, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(segment, "_export", export)
    pixels = np.full((64, 64, 3), (200, 20, 20), dtype=np.uint8)
    for name in "abc":
        write_image(tmp_path / f"{name}.png", pixels)
    jobs = deque(Job(name, SlideTask(tmp_path / f"{name}.png", 0.5)) for name in "abc")
    outcomes = list(in_turn(in_colour(), jobs, out, SlideOptions(), lambda name, *_: begun[name].set()))
    assert [(outcome.job.name, outcome.state) for outcome in outcomes] == [
        ("a", "done"),
        ("b", "failed"),
        ("c", "done"),
    ]
    assert "No space left" in outcomes[1].sentence
    assert sorted(path.name for path in out.iterdir()) == ["a", "c"]


@pytest.mark.slow
def test_a_worker_that_dies_fails_its_slide_only(tmp_path: Path) -> None:
    """As when the system kills it for want of memory."""
    run, out, slides = tiny_run(tmp_path / "run", mpp=0.5), tmp_path / "out", tmp_path / "slides"
    for name in "abc":
        write_image(slides / f"{name}.png", np.full((300, 300, 3), (200, 20, 20), dtype=np.uint8))
    victims = set()

    def kill_once(name: str, done: int, total: int) -> None:
        if name == "b" and not victims:
            holder = SoftFileLease(out / ".b.lock").pid
            assert holder
            victims.add(holder)
            os.kill(holder, signal.SIGKILL)

    tasks = [SlideTask(task.path, mpp=0.5) for task in tasks_in(slides)]
    report = segment_slides(run, tasks, out, workers=2, device="cpu", tiles=kill_once)
    assert [outcome.state for outcome in report.outcomes] == ["done", "failed", "done"]
    assert "its process was killed by signal 9" in report.failed[0].sentence
    assert os.getpid() not in victims
    assert {path.name for path in out.glob(".*")} <= {".histoproto"}
    assert segment_slides(run, tasks, out, device="cpu").names("done") == ["b"]


@pytest.mark.parametrize("workers", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_a_slide_that_fails_does_not_stop_the_others(slides: Path, tmp_path: Path, workers: int | None) -> None:
    run, out = tiny_run(tmp_path / "run", mpp=0.5), tmp_path / "out"
    told, seen = set(), []
    report = segment_slides(
        run,
        [SlideTask(task.path, mpp=0.5) for task in tasks_in(slides)],
        out,
        workers=workers,
        device="cpu",
        tiles=lambda name, done, total: told.add((name, done == total)),
        slides=lambda outcome, done, total: seen.append((outcome.job.name, outcome.state, done, total)),
    )
    assert [(outcome.job.name, outcome.state) for outcome in report.outcomes] == [
        ("a", "done"),
        ("b", "failed"),
        ("c", "done"),
    ]
    (failure,) = report.failed
    assert str(slides / "b.png") in failure.sentence
    assert not failure.trace
    assert {("a", True), ("c", True)} <= told
    assert [place[2:] for place in seen] == [(1, 3), (2, 3), (3, 3)]
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"a", "c"}
    assert {path.name for path in out.glob(".*")} <= {".histoproto"}
    before = (out / "a" / "record.json").stat()
    again = segment_slides(run, [SlideTask(task.path, mpp=0.5) for task in tasks_in(slides)], out, device="cpu")
    assert again.names("finished") == ["a", "c"]
    assert again.names("failed") == ["b"]
    assert again.outdated == ()
    assert (out / "a" / "record.json").stat() == before
    (tmp_path / "other").mkdir()
    (slides / "c.png").rename(tmp_path / "other" / "c.png")
    assert segment_slides(run, [SlideTask(tmp_path / "other" / "c.png", 0.5)], out).outdated == ("c",)
    assert segment_slides(run, [SlideTask(slides / "a.png", 0.5)], out, SlideOptions(crf=True)).outdated == ("a",)
    assert segment_slides(run, [SlideTask(slides / "a.png", 0.5)], out, SlideOptions(batch_size=3)).outdated == ()


def test_half_precision_is_the_models_and_recorded(slides: Path, tmp_path: Path) -> None:
    run, out, tasks = tiny_run(tmp_path / "run", mpp=0.5), tmp_path / "out", [SlideTask(slides / "a.png", 0.5)]
    assert segment_slides(run, tasks, out, SlideOptions(fast=True), device="cpu").names("done") == ["a"]
    assert json.loads((out / "a" / "record.json").read_text())["settings"]["fast"] is True
    assert segment_slides(run, tasks, out, SlideOptions(fast=True), device="cpu").outdated == ()
    assert segment_slides(run, tasks, out, device="cpu").outdated == ("a",)
    for fast in (True, False):
        network = Setup(run, out, SlideOptions(fast=fast), device="cpu").load().network
        assert isinstance(network, HalfPrecision) is fast


def test_what_no_slide_could_change(slides: Path, tmp_path: Path) -> None:
    tasks, run, out = tasks_in(slides), tiny_run(tmp_path / "run"), tmp_path / "out"
    with pytest.raises(RunError, match="no trained model"):
        segment_slides(tmp_path, tasks, out)
    with pytest.raises(SettingError, match="--model-mpp"):
        segment_slides(run, tasks, out)
    with pytest.raises(SettingError, match="views"):
        segment_slides(run, tasks, out, SlideOptions(model_mpp=1, views=3))  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="at least 1"):
        segment_slides(run, tasks, out, SlideOptions(model_mpp=1), workers=0)
    assert not out.exists()


def test_slides_of_versions_without_an_option_are_not_outdated(slides: Path, tmp_path: Path) -> None:
    run, out, tasks = tiny_run(tmp_path / "run", mpp=0.5), tmp_path / "out", [SlideTask(slides / "a.png", 0.5)]
    segment_slides(run, tasks, out, device="cpu")
    path = out / "a" / "record.json"
    record = json.loads(path.read_text())
    for name in ("abstain", "uncertainty"):
        del record["settings"][name]
    path.write_text(json.dumps(record))
    assert segment_slides(run, tasks, out, device="cpu").outdated == ()
    assert segment_slides(run, tasks, out, SlideOptions(abstain=0.5), device="cpu").outdated == ("a",)


def test_images_of_one_file_are_slides_of_their_own(tmp_path: Path) -> None:
    path, run, out = tmp_path / "a.tif", tiny_run(tmp_path / "run", mpp=0.5), tmp_path / "out"
    pages = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), np.uint8)
    tifffile.imwrite(path, pages, photometric="rgb", metadata=None)
    report = segment_slides(run, [SlideTask(path, 0.5, image=number) for number in "12"], out, device="cpu")
    assert report.names("done") == ["a-1", "a-2"]
    record = json.loads((out / "a-2" / "record.json").read_text())
    assert (record["image"], record["image_told"]) == ("image 2", "2")
    (out / "a-1").rename(out / "a")
    assert segment_slides(run, [SlideTask(path, 0.5, image="1")], out, device="cpu").outdated == ()
    assert segment_slides(run, [SlideTask(path, 0.5, image="2")], out, device="cpu").outdated == ("a",)
