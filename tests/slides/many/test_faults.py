"""Files and disks on a bad day: no half result, no lost neighbour, and the next run mends it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from histoproto.data.images import write_image
from histoproto.errors import OutputError
from histoproto.slides.many.batch import segment_slides
from histoproto.slides.task import SlideTask
from slides.many.bad_day import MPP, assert_complete, fork, segment, states, write_slide


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
