"""What goes wrong with slides on a bad day: no half result, no lost neighbour, and the next run mends it."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

from fakes import ColourNetwork, colour_card, tiny_run
from histoproto.data.images import write_image
from histoproto.errors import OutputError
from histoproto.inference.segmenter import Segmenter
from histoproto.model.network import ClassMaps
from histoproto.slides.many.batch import BatchReport, segment_slides
from histoproto.slides.many.lock import slide_lock
from histoproto.slides.many.tasks import find_slides
from histoproto.slides.task import SlideTask

MPP = 0.5


class SlowNetwork(ColourNetwork):
    """Takes its time, so that a test can come in between."""

    seconds = 0.0

    def class_maps(self, x: Tensor) -> ClassMaps:
        time.sleep(self.seconds)
        return super().class_maps(x)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder whose model finds red, green and blue, in this process and in those forked from it."""

    def load(*_: object) -> Segmenter:
        return Segmenter(SlowNetwork(), colour_card(mpp=MPP), device="cpu")  # type: ignore[arg-type]

    monkeypatch.setattr(Segmenter, "load", load)
    return tiny_run(tmp_path / "run", mpp=MPP)


def write_slide(path: Path, height: int = 300, width: int = 400, colour: tuple[int, int, int] = (200, 30, 30)) -> Path:
    """A tiled JPEG TIFF: tissue of one colour with noise on it, glass along the left side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(-10, 11, (height, width, 1))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    pixels[:, : width // 5] = 244
    tifffile.imwrite(
        path,
        pixels,
        tile=(64, 64),
        compression="jpeg",
        photometric="rgb",
        resolution=(1e4 / MPP, 1e4 / MPP),
        resolutionunit="CENTIMETER",
    )
    return path


def segment(run: Path, slides: Path, out: Path, **options: object) -> BatchReport:
    return segment_slides(run, find_slides([slides]), out, device="cpu", **options)  # type: ignore[arg-type]


def states(report: BatchReport) -> dict[str, str]:
    return {outcome.job.name: outcome.state for outcome in report.outcomes}


def assert_complete(out: Path, *names: str) -> None:
    """Exactly these slides have folders, all of them whole, and nothing half-done lies about."""
    assert {path.name for path in out.iterdir() if path.is_dir()} == set(names)
    assert {path.name for path in out.rglob(".*")} <= {".histoproto"}
    for name in names:
        assert {"tissue.ome.tif", "tissue.geojson", "areas.csv", "overview.png", "record.json"} <= {
            path.name for path in (out / name).iterdir()
        }
        json.loads((out / name / "record.json").read_text())
    if names:
        with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
            assert {row["name"] for row in csv.DictReader(file) if row["state"] == "done"} == set(names)


def fork(work: Callable[[], object]) -> ForkProcess:
    """A process that goes on from here, without the seconds it takes to import torch again."""

    def alone() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
        torch.set_num_threads(1)
        work()

    process = get_context("fork").Process(target=alone)
    process.start()
    return process


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_truncated_file(run: Path, tmp_path: Path) -> None:
    slides, out = tmp_path / "slides", tmp_path / "out"
    for name in "abc":
        write_slide(slides / f"{name}.tif")
    whole = (slides / "b.tif").read_bytes()
    (slides / "b.tif").write_bytes(whole[: len(whole) // 2])
    report = segment(run, slides, out)
    assert states(report) == {"a": "done", "b": "failed", "c": "done"}
    assert "b.tif" in report.failed[0].sentence
    assert not report.failed[0].trace
    assert_complete(out, "a", "c")
    (slides / "b.tif").write_bytes(whole)
    assert states(segment(run, slides, out)) == {"a": "finished", "b": "done", "c": "finished"}
    assert_complete(out, "a", "b", "c")


def test_unreadable_tile_in_the_middle(run: Path, tmp_path: Path) -> None:
    slides, out = tmp_path / "slides", tmp_path / "out"
    for name in "ab":
        write_slide(slides / f"{name}.tif")
    with tifffile.TiffFile(slides / "a.tif") as file:
        page = file.pages[0]
        tile = len(page.dataoffsets) // 2
        offset, count = page.dataoffsets[tile], page.databytecounts[tile]
    with (slides / "a.tif").open("r+b") as raw:
        raw.seek(offset)
        raw.write(bytes(count))
    report = segment(run, slides, out)
    assert states(report) == {"a": "failed", "b": "done"}
    assert "a.tif" in report.failed[0].sentence
    assert "damaged" in report.failed[0].sentence
    assert_complete(out, "b")


def mount(folder: Path, options: str) -> bool:
    """Put a file system in memory in place of a folder, where that is allowed."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for very little."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mount(disk, "size=64k"):
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_disk_full(run: Path, tmp_path: Path, small_disk: Path) -> None:
    slides, out = tmp_path / "slides", small_disk / "out"
    write_slide(slides / "a.tif")
    write_slide(slides / "b.tif")
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(bytes(1 << 20))
    with pytest.raises(OutputError, match="No space left"):
        segment(run, slides, out)
    ballast.unlink()
    ballast.write_bytes(bytes(36 << 10))
    report = segment(run, slides, out)
    assert set(states(report).values()) == {"failed"}
    assert all("No space left" in failure.sentence for failure in report.failed)
    assert_complete(out)


def test_disk_full_for_a_large_file(run: Path, tmp_path: Path) -> None:
    """The same where nothing can be mounted: a limit on the size of a file, met in the middle of writing."""
    slides, out = tmp_path / "slides", tmp_path / "out"
    write_slide(slides / "a.tif", 1000, 1200)
    write_slide(slides / "b.tif", 40, 60)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
        report = segment(run, slides, out)
        (tmp_path / "states").write_text(json.dumps([states(report), report.failed[0].sentence]))

    process = fork(limited)
    process.join()
    found, sentence = json.loads((tmp_path / "states").read_text())
    assert found == {"a": "failed", "b": "done"}
    assert "cannot be written" in sentence
    assert_complete(out, "b")


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


def test_slide_without_tissue(run: Path, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "empty.tif", colour=(244, 244, 244))
    assert states(segment(run, slide, tmp_path / "out")) == {"empty": "done"}
    assert_complete(tmp_path / "out", "empty")


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (7, 5)])
def test_tiny_slides(run: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    slide = tmp_path / "tiny.png"
    write_image(slide, np.full((*size, 3), (200, 30, 30), dtype=np.uint8))
    report = segment_slides(run, [SlideTask(slide, MPP)], tmp_path / "out", device="cpu")
    assert states(report) == {"tiny": "done"}
    assert_complete(tmp_path / "out", "tiny")


def test_a_name_with_blanks_and_umlauts(run: Path, tmp_path: Path) -> None:
    name = "Fall 7 – Größe, 100 % [ä].b"
    write_slide(tmp_path / "Präparate 1" / f"{name}.tif")
    assert states(segment(run, tmp_path / "Präparate 1", tmp_path / "out")) == {name: "done"}
    assert_complete(tmp_path / "out", name)


def test_no_folder_can_be_made(run: Path, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tif")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        segment(run, slide, tmp_path / "file" / "out")


def test_read_only_output_folder(run: Path, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tif")
    out = tmp_path / "out"
    out.mkdir()
    mounted = mount(out, "ro")
    if not mounted:
        out.chmod(0o500)
    try:
        if os.access(out, os.W_OK):
            pytest.skip("no folder can be made read-only here")
        with pytest.raises(OutputError, match=r"out.* cannot be written"):
            segment(run, slide, out)
    finally:
        if not mounted:
            out.chmod(0o700)
        else:
            subprocess.run(["umount", out], check=True)
