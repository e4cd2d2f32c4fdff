"""Slides of several DICOM files: one per level, or parts of a level."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames

from histoproto.errors import ImageError
from histoproto.slides.many.folders import LeftOut
from histoproto.slides.many.tasks import find_slides
from histoproto.slides.reading.dicom import DicomSlide
from histoproto.slides.reading.opening import open_slide
from slide_files import write_dicom

Pixels = NDArray[np.uint8]
SERIES = "1.2.3.4"


def file(path: Path, picture: Pixels, mpp: float = 0.5, **values: object) -> Path:
    """A file of the series."""
    write_dicom(path, picture, mpp=mpp)
    with pydicom.dcmread(path) as content:
        content.SeriesInstanceUID, content.DimensionOrganizationType = SERIES, "TILED_FULL"
        content.SOPInstanceUID = content.file_meta.MediaStorageSOPInstanceUID
        for name, value in values.items():
            setattr(content, name, value)
        content.save_as(path)
    return path


def series(folder: Path, picture: Pixels) -> list[Path]:
    """Three levels, named so that the finest comes last, and a label."""
    label = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]
    return [
        *(file(folder / f"{9 - step}.dcm", picture[::step, ::step].copy(), 0.5 * step) for step in (4, 2, 1)),
        file(folder / "1.dcm", picture[:200, :150].copy(), ImageType=label),
    ]


def parts(path: Path, folder: Path, at: list[int]) -> list[Path]:
    """The file in parts, each with the frames between two numbers."""
    written = []
    for number, (first, last) in enumerate(pairwise(at), start=1):
        content = pydicom.dcmread(path)
        frames = list(generate_frames(content.PixelData, number_of_frames=content.NumberOfFrames))
        content.SOPInstanceUID = content.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{number}"
        content.ConcatenationUID, content.InConcatenationNumber = "1.2.8", number
        content.InConcatenationTotalNumber, content.ConcatenationFrameOffsetNumber = len(at) - 1, first
        content.NumberOfFrames = last - first
        content.PixelData = encapsulate(frames[first:last])
        content.save_as(folder / f"part {9 - number}.dcm")
        written.append(folder / f"part {9 - number}.dcm")
    return written


def close_to(found: Pixels, expected: Pixels) -> bool:
    return bool(np.abs(found.astype(int) - expected).mean() < 3)


def test_any_file_of_a_series_opens_the_whole_slide(picture: Pixels, tmp_path: Path) -> None:
    files = series(tmp_path, picture)
    shutil.copy(files[0], tmp_path / "copy.dcm")
    other = file(tmp_path / "other.dcm", picture[:50].copy(), SeriesInstanceUID="1.2.5")
    for path in files[:3]:
        with open_slide(path) as slide:
            assert isinstance(slide, DicomSlide)
            assert [(level.width, level.height) for level in slide.levels] == [(421, 300), (211, 150), (106, 75)]
            assert slide.mpp == pytest.approx(0.5)
            assert slide.beside == ("label",)
            assert close_to(slide.read(0, 0, 421, 300), picture)
            assert close_to(slide.read_level(2, 0, 0, 106, 75), picture[::4, ::4])
            assert any("3 files of its series are read as one slide" in note for note in slide.notes)
            assert any("copy of another file" in note for note in slide.notes)
    with open_slide(other) as slide:
        assert [(level.width, level.height) for level in slide.levels] == [(421, 50)]
    with pytest.raises(ImageError, match="is the label picture of a slide"):
        open_slide(files[3])


def test_a_folder_or_all_of_its_files_are_one_slide(picture: Pixels, tmp_path: Path) -> None:
    files = series(tmp_path, picture)
    for sources in ([tmp_path], files, [tmp_path / "*.dcm"], [*files[::-1], tmp_path]):
        left_out = LeftOut()
        assert [task.path.name for task in find_slides(sources, left_out=left_out)] == ["8.dcm"]
        assert any("levels, parts or labels of slides" in note for note in left_out.notes)
        assert left_out.count == 0
    assert [task.path for task in find_slides([files[0]])] == [files[0]]


def test_parts_of_a_level_are_put_together(picture: Pixels, tmp_path: Path) -> None:
    whole = file(tmp_path / "whole.dcm", picture)
    (tmp_path / "parts").mkdir()
    found = parts(whole, tmp_path / "parts", [0, 5, 7, 12])
    file(tmp_path / "parts" / "half.dcm", picture[::2, ::2].copy(), 1.0)
    for path in found:
        with open_slide(path) as slide:
            assert [(level.width, level.height) for level in slide.levels] == [(421, 300), (211, 150)]
            assert close_to(slide.read(0, 0, 421, 300), picture)
    assert [task.path for task in find_slides([tmp_path / "parts"])] == [found[0]]
    found[1].unlink()
    with pytest.raises(ImageError, match=r"in 3 files .*, of which 2 are there: part 8\.dcm, part 6\.dcm; put all"):
        open_slide(found[0])


def test_what_does_not_fit_together_is_refused(picture: Pixels, tmp_path: Path) -> None:
    whole = file(tmp_path / "whole.dcm", picture)
    (tmp_path / "parts").mkdir()
    first, second = parts(whole, tmp_path / "parts", [0, 5, 12])
    with pydicom.dcmread(second) as content:
        content.ConcatenationFrameOffsetNumber = 6
        content.save_as(second)
    with pytest.raises(ImageError, match="do not fit together"):
        open_slide(first)
    file(tmp_path / "twin.dcm", picture[::-1].copy())
    with pytest.raises(ImageError, match=r"twin\.dcm and whole\.dcm|whole\.dcm and twin\.dcm"):
        open_slide(whole)
    file(tmp_path / "twin.dcm", picture[:, :200].copy())
    with pytest.raises(ImageError, match=r"whole\.dcm .* and twin\.dcm .* are not one picture at two sizes"):
        open_slide(whole)
    file(tmp_path / "twin.dcm", picture[::2, ::2].copy(), DimensionOrganizationType="TILED_SPARSE")
    with pytest.raises(ImageError, match=r"twin\.dcm has tiles at places of their own"):
        open_slide(whole)
