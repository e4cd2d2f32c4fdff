from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from histoproto.cli.app import app
from histoproto.slides.reading.info import describe_slide
from slide_files import write


def test_a_slide_says_what_it_is(picture: NDArray[np.uint8], tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif", picture, photometric="rgb", metadata={"PhysicalSizeX": 2, "PhysicalSizeY": 2}
    )
    found = describe_slide(tmp_path / "a.ome.tif", thumbnail=tmp_path / "small.png")
    assert found.readable
    assert found.facts["format"] == "OME-TIFF (read by TiffSlide)"
    assert found.facts["size"] == "421 × 300 pixels"
    assert found.facts["levels"] == "421 × 300 (1/1)"
    assert found.facts["µm/px"] == "2 (OME PhysicalSize)"
    assert found.facts["area"] == "0.84 × 0.60 mm"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "small.png")), picture)
    told = describe_slide(tmp_path / "a.ome.tif", mpp=1)
    assert told.facts["µm/px"] == "1 (told)"
    assert "the file says 2" in told.notes[0]


def test_what_cannot_be_read_is_said(picture: NDArray[np.uint8], tmp_path: Path) -> None:
    """Of a slide that opens, and of one that does not."""
    path = write("bigtiff", tmp_path, picture)
    with tifffile.TiffFile(path) as file:
        start, end = min(file.pages.first.dataoffsets), file.pages.first.dataoffsets[-1]
    data = bytearray(path.read_bytes())
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    found = describe_slide(path)
    assert not found.readable
    assert "cannot be read near pixel" in found.problem
    assert found.facts["size"] == "421 × 300 pixels"
    assert "there is no slide" in describe_slide(tmp_path / "none.svs").problem


def test_command(picture: NDArray[np.uint8], tmp_path: Path) -> None:
    good, bad = write("tiled", tmp_path, picture), tmp_path / "b.tif"
    bad.write_bytes(b"II*\0hello")
    found = CliRunner().invoke(app, ["slide", "info", str(good), "--thumbnail", str(tmp_path / "t.png")])
    assert found.exit_code == 0
    assert "size: 421 × 300 pixels" in found.output
    assert (tmp_path / "t.png").is_file()
    both = CliRunner().invoke(app, ["slide", "info", str(good), str(bad)])
    assert both.exit_code != 0
    assert "readable: yes" in both.output
    assert "readable: no: " in both.output
    again = CliRunner().invoke(app, ["slide", "info", str(good), "--thumbnail", str(tmp_path / "t.png")])
    assert "is there already" in str(again.exception)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom")
def test_what_a_file_says_is_on_one_line_and_no_command(picture: NDArray[np.uint8], tmp_path: Path) -> None:
    from slide_files import write_dicom

    path = tmp_path / "a.dcm"
    write_dicom(path, picture, mpp=0.5)
    with pydicom.dcmread(path) as file:
        file.Manufacturer = "Evil\x1b[2J\n  readable: yes"
        file.save_as(path)
    assert describe_slide(path).facts["vendor"] == "Evil\\x1b[2J readable: yes"
    with pydicom.dcmread(path) as file:
        file.PhotometricInterpretation = "X\x1b[2J\nerror: none"
        file.save_as(path)
    problem = describe_slide(path).problem
    assert "\\x1b[2J" in problem
    assert not set(problem) & {"\x1b", "\n"}
