"""What lies in a folder is found or said: other formats, dead links, deeper folders, downloads that were broken off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from histoproto.errors import DataError, SettingError
from histoproto.slides.many.folders import LeftOut
from histoproto.slides.many.tasks import find_slides, name_slides


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * (1 + len(name)))
    return folder


def look(*sources: Path) -> tuple[list[str], LeftOut]:
    left_out = LeftOut()
    return [task.path.name for task in find_slides(sources, left_out=left_out)], left_out


def test_slides_of_an_archive_lie_deeper(tmp_path: Path) -> None:
    folder = make(tmp_path / "gdc", "0a/TCGA-1.svs", "2b/logs/x.parcel", "2b/TCGA-2.SVS", "2b/annotations.txt")
    make(folder, "maps/TCGA-1/record.json", "maps/TCGA-1/tissue.ome.tif", ".trash/old.svs")
    names, left_out = look(folder)
    assert names == ["TCGA-1.svs", "TCGA-2.SVS"]
    assert left_out.notes[0] == f"the 2 slides of {folder} lie in folders within it"
    assert look(folder / "*")[0] == names
    make(folder, "top.svs")
    names, left_out = look(folder)
    assert (names, left_out.count) == (["top.svs"], 2)
    assert left_out.notes[0].startswith("left out: TCGA-1.svs, TCGA-2.SVS: they lie in folders within")


def test_what_is_no_slide_is_told(tmp_path: Path) -> None:
    folder = make(tmp_path, "a.svs", "b.TIF", "x.qptiff", "y.czi", "z.svs.partial")
    make(folder, "t.jpg", "n.xml", "m.xml", "._a.svs", "a.geojson", "b.geojson.gz", "c.geojson")
    (folder / "broken.tif").symlink_to(folder / "nowhere.tif")
    os.mkfifo(folder / "pipe.tif")
    names, left_out = look(folder)
    assert (names, left_out.count) == (["a.svs", "b.TIF"], 5)
    assert left_out.notes == [
        "left out: broken.tif: links to files that are not there",
        "left out: pipe.tif: pipes or devices, no files",
        "left out: y.czi: Zeiss CZI is not read; convert them to OME-TIFF, with QuPath or Bio-Formats",
        "left out: x.qptiff: Akoya QPTIFF is not read; convert them to OME-TIFF, with QuPath or Bio-Formats",
        "left out: z.svs.partial: downloads that are not finished",
        "left out: t.jpg: pictures are slides only if they are named",
        f"files in {folder} that are no slides: 2 .xml, 1 .geojson",
    ]
    assert look(folder / "*.[cs]*")[1].count == 2
    for name in names:
        (folder / name).unlink()
    with pytest.raises(DataError, match=r"there are no slides in .*; left out: broken\.tif.*Zeiss CZI is not read"):
        look(folder)


def test_one_slide_under_two_names_is_done_once(tmp_path: Path) -> None:
    folder = make(tmp_path, "a.svs")
    (folder / "link.svs").symlink_to(folder / "a.svs")
    names, left_out = look(folder)
    assert (names, left_out.notes) == (["a.svs"], [f"left out: link.svs: it is the same file as {folder / 'a.svs'}"])
    (folder / "t.csv").write_text("slide,mpp\na.svs,1\na.svs,0.5\n")
    with pytest.raises(DataError, match=r"a\.svs is named twice, with different µm/px or regions"):
        look(folder / "t.csv")


def test_dicom_without_an_ending_is_known_by_its_content(tmp_path: Path) -> None:
    for name in ("IM0001", "1.2.840.3", "DICOMDIR"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" + name.encode())
    (tmp_path / "README").write_bytes(b"")
    assert sorted(look(tmp_path)[0]) == ["1.2.840.3", "IM0001"]


def test_folders_with_brackets_are_no_patterns(tmp_path: Path) -> None:
    folder = make(tmp_path / "brackets [1]", "a.svs", "b/c.svs")
    assert look(folder / "*.svs")[0] == ["a.svs"]
    assert look(folder / "**" / "*.svs")[0] == ["a.svs", "c.svs"]
    with pytest.raises(DataError, match="is no pattern"):
        look(folder / "a**b")


@pytest.mark.parametrize("name", [b"\xff.svs", b"a\nb.svs", b"\x1b[2J.svs"])
def test_names_of_slides_that_cannot_be_written_are_refused(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    with pytest.raises(SettingError, match="rename it"):
        look(tmp_path)


def test_names_to_which_nothing_can_be_added_are_refused(tmp_path: Path) -> None:
    tasks = find_slides([make(tmp_path, "x" * 230 + ".svs")])
    with pytest.raises(DataError, match="more than the 200 bytes"):
        name_slides(tasks)


def test_a_loop_of_links_is_no_slide(tmp_path: Path) -> None:
    (tmp_path / "loop.svs").symlink_to("loop.svs")
    with pytest.raises(DataError, match="there is no file"):
        look(tmp_path / "loop.svs")
    with pytest.raises(DataError, match="links to files that are not there"):
        look(tmp_path)
