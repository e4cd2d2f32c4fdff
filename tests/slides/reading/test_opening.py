from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from histoproto.errors import ImageError
from histoproto.slides.reading.opening import open_slide
from places import REAL
from slide_files import write

Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 300, 421
SLIDES = REAL / "slides"


KINDS = ["png", "jpeg", "dicom", "dicom by column", "one strip", "big-endian", "strips", "tiled", "bigtiff", "planar"]
KINDS += ["alpha", "ome", "ome of three planes", "pyramid"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_pixels(kind: str, picture: Pixels, tmp_path: Path) -> None:
    with open_slide(write(kind, tmp_path, picture)) as slide:
        assert (slide.width, slide.height) == (WIDTH, HEIGHT)
        assert slide.levels[0].downsample == 1
        lossy = kind in ("jpeg", "dicom", "dicom by column", "bigtiff", "pyramid")
        for left, top, width, height in ((0, 0, WIDTH, HEIGHT), (60, 130, 70, 10), (WIDTH - 1, HEIGHT - 1, 1, 1)):
            read = slide.read(left, top, width, height)
            assert read.dtype == np.uint8
            assert read.shape == (height, width, 3)
            apart = np.abs(read - picture[top : top + height, left : left + width].astype(int))
            assert apart.mean() <= (3 if lossy else 0) or (lossy and apart.size == 3), (left, top)


def test_wrong_files_are_sentences(picture: Pixels, tmp_path: Path) -> None:
    def refused(name: str, sentence: str, content: bytes | None = None) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=sentence), open_slide(tmp_path / name) as slide:
            slide.read(0, 0, slide.width, slide.height)

    refused("none.svs", "there is no slide")
    refused("empty.svs", "is empty", b"")
    refused("text.svs", "is not an image", b"hello")
    refused("text.tif", "holds no image", b"II*\0hello")
    refused("text.dcm", "is no DICOM whole slide", b"\0" * 128 + b"DICMhello")
    whole = write("tiled", tmp_path, picture).read_bytes()
    refused("half.tif", "cannot be opened|ends in the middle|cannot be read", whole[: len(whole) // 2])
    strips = write("one strip", tmp_path, picture).read_bytes()
    refused("half strip.tif", "ends in the middle|cannot be opened", strips[: len(strips) // 2])
    for kind in ("png", "jpeg", "dicom"):
        path = write(kind, tmp_path, picture)
        whole = path.read_bytes()
        refused(f"half{path.suffix}", "cannot be|6 frames, expected 12", whole[: len(whole) // 2])
    tifffile.imwrite(tmp_path / "float.tif", picture.astype(np.float32))
    refused("float.tif", "expected an image of 8 or 16 bits")
    (tmp_path / "folder.svs").mkdir()
    refused("folder.svs", "is a folder; expected a slide")
    os.mkfifo(tmp_path / "pipe.svs")  # is not waited for
    refused("pipe.svs", "is no file; expected a slide")


@pytest.mark.skipif(not SLIDES.is_dir(), reason="the real slides are not here")
@pytest.mark.parametrize(
    ("name", "reader", "size", "mpp"),
    [
        ("cmu-1-small-region.svs", "OpenSlideSlide", (2220, 2967), 0.499),
        ("tcga-cr-7395-01a-01-ts1.svs", "OpenSlideSlide", (4443, 3567), None),
        ("small_dicom.dcm", "DicomSlide", (3236, 2638), None),
    ],
)
def test_real_slides(name: str, reader: str, size: tuple[int, int], mpp: float | None) -> None:
    with open_slide(SLIDES / name) as slide:
        assert type(slide).__name__ == reader
        assert (slide.width, slide.height) == size
        assert slide.mpp == mpp
        thumbnail, _ = slide.thumbnail(200)
        assert 100 < thumbnail.mean() < 250


def test_what_one_reader_refuses_no_other_opens(picture: Pixels, tmp_path: Path) -> None:
    """OpenSlide opens this one, too, and would show the first page."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for part in (picture, picture[:280]):
            file.write(part, tile=(64, 64), photometric="rgb", metadata=None)
    with pytest.raises(ImageError, match="2 images that could be meant"):
        open_slide(tmp_path / "a.tif")
