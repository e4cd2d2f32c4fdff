from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histoproto.data.images import write_image
from histoproto.data.regions import find_regions, lonely_masks
from histoproto.errors import DataError


@pytest.mark.parametrize("kind", ["dead", "device", "pipe"])
def test_an_image_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    for part in ("img", "mask"):
        for name in "ab":
            write_image(tmp_path / part / f"{name}.png", pixels)
    assert list(find_regions(tmp_path)) == ["a", "b"]
    odd = tmp_path / "img" / "b.png"
    odd.unlink()
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero" if kind == "device" else "nowhere")
    with pytest.raises(DataError, match=r"b\.png is no file but a dead link, a pipe or a device"):
        find_regions(tmp_path)


@pytest.mark.parametrize("part", ["img", "mask"])
def test_two_files_of_one_name_are_refused(tmp_path: Path, part: str) -> None:
    for folder in ("img", "mask"):
        write_image(tmp_path / folder / "a.png", np.zeros((4, 4, 3), np.uint8))
    Image.new("L", (4, 4)).save(tmp_path / part / "a.tif")
    with pytest.raises(DataError, match=r"more than one image named 'a'|a\.png and a\.tif|a\.tif and a\.png"):
        find_regions(tmp_path)


def test_masks_without_an_image_are_told(tmp_path: Path) -> None:
    for part in ("img", "mask"):
        write_image(tmp_path / part / "a.png", np.zeros((4, 4, 3), np.uint8))
    assert lonely_masks(tmp_path) == []
    write_image(tmp_path / "mask" / "b.png", np.zeros((4, 4, 3), np.uint8))
    assert list(find_regions(tmp_path)) == ["a"]
    assert lonely_masks(tmp_path) == ["masks without an image of their name, left out: b.png"]
