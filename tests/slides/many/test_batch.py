"""Many slides: which ones, under which names, locks between processes, what survives a death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from filelock import SoftFileLease
from pydicom import FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from fakes import ColourNetwork, colour_card, tiny_run
from histoproto import lock as locks
from histoproto.data.images import write_image
from histoproto.errors import DataError, RunError, SettingError
from histoproto.inference.segmenter import Segmenter
from histoproto.model.half_precision import HalfPrecision
from histoproto.slides import segment
from histoproto.slides.many.batch import segment_slides
from histoproto.slides.many.job import Job, is_finished
from histoproto.slides.many.lock import slide_lock
from histoproto.slides.many.processes import Setup, in_turn
from histoproto.slides.many.tasks import find_slides, name_slides
from histoproto.slides.options import SlideOptions
from histoproto.slides.task import SlideTask


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def paths(tasks: list[SlideTask]) -> list[str]:
    return [task.path.name for task in tasks]


def test_slides_from_files_folders_patterns_and_tables(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    names = ("s10.svs", "s9.TIF", ".hidden.svs", "thumbnail.png", "notes.txt", "deep/s1.ndpi")
    touch(*(folder / name for name in names))
    assert paths(find_slides([folder])) == ["s9.TIF", "s10.svs"]
    assert paths(find_slides([folder / "s*.*"])) == ["s9.TIF", "s10.svs"]
    assert paths(find_slides([folder / "**" / "s*"])) == ["s9.TIF", "s10.svs", "s1.ndpi"]
    named = find_slides([folder / "thumbnail.png", folder / "s10.svs", folder])
    assert paths(named) == ["thumbnail.png", "s10.svs", "s9.TIF"]
    touch(tmp_path / "r.geojson")
    (tmp_path / "list.csv").write_text("slide,mpp,region\nslides/s10.svs,0.25,r.geojson\nslides/s9.TIF,,\n")
    tasks = find_slides([tmp_path / "list.csv"], mpp=0.5)
    assert tasks == [
        SlideTask(folder / "s10.svs", 0.25, tmp_path / "r.geojson"),
        SlideTask(folder / "s9.TIF", 0.5, None),
    ]
    touch(tmp_path / "[odd].svs")  # a name that looks like a pattern
    assert paths(find_slides([tmp_path / "[odd].svs"])) == ["[odd].svs"]


def test_the_files_of_a_dicom_series_are_one_slide(tmp_path: Path) -> None:
    for number, (series, rows) in enumerate([("1.2", 4), ("1.2", 9), ("1.2", 5), ("1.3", 3)]):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.77.1.6"
        meta.MediaStorageSOPInstanceUID = f"1.9.{number}"
        level = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        level.SeriesInstanceUID, level.PixelData = series, bytes(2 * rows)
        level["PixelData"].VR = "OB"
        level.save_as(tmp_path / f"{number}.dcm")
    (tmp_path / "broken.dcm").write_bytes(b"?")
    assert paths(find_slides([tmp_path])) == ["1.dcm", "3.dcm", "broken.dcm"]
    assert paths(find_slides([tmp_path / "*.dcm"])) == ["1.dcm", "3.dcm", "broken.dcm"]
    assert paths(find_slides([tmp_path / "0.dcm"])) == ["0.dcm"]


def test_regions_go_by_the_name_of_their_slide(tmp_path: Path) -> None:
    touch(tmp_path / "a.svs", tmp_path / "b.ome.tif", tmp_path / "r" / "a.geojson", tmp_path / "r" / "b.geojson.gz")
    tasks = find_slides([tmp_path], regions=tmp_path / "r")
    assert [task.regions.name for task in tasks if task.regions] == ["a.geojson", "b.geojson.gz"]
    assert find_slides([tmp_path / "a.svs"], regions=tmp_path / "r" / "a.geojson")[0].regions
    with pytest.raises(DataError, match="one file for 2 slides; give a folder"):
        find_slides([tmp_path], regions=tmp_path / "r" / "a.geojson")
    (tmp_path / "r" / "b.geojson.gz").unlink()
    with pytest.raises(DataError, match=r"has no file b\.geojson"):
        find_slides([tmp_path], regions=tmp_path / "r")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("image,mpp\na.svs,1\n", "takes the columns slide, mpp and region; its columns are image, mpp"),
        ("slide,mpp\na.svs,much\n", "line 2: the µm/px is 'much'"),
        ("slide,mpp\na.svs,-1\n", "line 2: the µm/px is '-1'"),
        ("slide,mpp\na.svs,nan\n", "line 2: the µm/px is 'nan'"),
        ("slide,mpp\n,1\n", "line 2: the slide is missing"),
        ("slide\nb.svs\n", r"there is no file .*b\.svs"),
        ("slide,region\na.svs,r.geojson\n", r"there is no file .*r\.geojson"),
    ],
)
def test_malformed_tables(tmp_path: Path, table: str, sentence: str) -> None:
    touch(tmp_path / "a.svs")
    (tmp_path / "list.csv").write_text(table)
    with pytest.raises(DataError, match=sentence):
        find_slides([tmp_path / "list.csv"])


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*x\.svs"):
        find_slides([tmp_path / "x.svs"])
    for nothing in ([tmp_path], [tmp_path / "*.svs"], []):
        with pytest.raises(DataError, match="there are no slides in"):
            find_slides(nothing)


def test_names_differ_even_where_case_does_not_count() -> None:
    slides = [Path(path) for path in ("/a/S.svs", "/b/s.svs", "/b/t.svs", "/c/b/t.svs", "/c/Straße ü.tif")]
    names = list(name_slides([SlideTask(path) for path in slides]))
    assert names == ["a-S", "b-s", "root-b-t", "c-b-t", "Straße ü"]


def hold(out: Path, name: str) -> subprocess.Popen[str]:
    """Another process that holds the lock of a slide until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from histoproto.slides.many.lock import slide_lock\n"
        f"with slide_lock(Path({str(out)!r}), {name!r}): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_keeps_others_out_and_dies_with_its_process(tmp_path: Path) -> None:
    process = hold(tmp_path, "a")
    try:
        with slide_lock(tmp_path, "a") as lock:
            assert lock is None
        with slide_lock(tmp_path, "b") as lock:
            assert lock is not None
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / ".a.lock").exists()
    with slide_lock(tmp_path, "a") as lock:
        assert lock is not None
    assert not list(tmp_path.iterdir())


def test_a_silent_lock_of_another_machine_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SILENCE", 0.5)
    monkeypatch.setattr(locks, "HEARTBEAT", 0.1)
    with slide_lock(tmp_path, "a"):
        record = (tmp_path / ".a.lock").read_text()
    import socket

    elsewhere = record.replace(socket.gethostname(), "another-machine")
    assert elsewhere != record
    (tmp_path / ".a.lock").write_text(elsewhere)
    with slide_lock(tmp_path, "a") as lock:
        assert lock is None
    start = time.monotonic()
    with slide_lock(tmp_path, "a", wait=True) as lock:
        assert lock is not None
    assert 0.4 < time.monotonic() - start < 10


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

    def export(part: Path, *rest: object) -> None:
        name = part.name.split(".")[1]
        if name == "a":
            assert begun["b"].wait(20), "nothing is done while results are written"
            assert not begun["c"].wait(0.5), "three slides are in hand"
            assert not is_finished(out, "a")
            with slide_lock(out, "a") as lock:
                assert lock is None
        if name == "b":
            raise OSError(28, "No space left on device")
        original(part, *rest)  # type: ignore[arg-type]

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
