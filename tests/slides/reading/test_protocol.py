from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray

from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.reading import protocol as module
from histoproto.slides.reading.opening import open_slide, require_mpp
from histoproto.slides.reading.protocol import SlideReader
from slide_files import write

Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 300, 421


def test_outside_is_white(picture: Pixels, tmp_path: Path) -> None:
    with open_slide(write("tiled", tmp_path, picture)) as slide:
        for downsample in (1.0, 2.0, 0.5, 3.7):
            size = round(100 / downsample)
            corner = slide.read(WIDTH - 50, HEIGHT - 50, size, size, downsample)
            inside = corner[: size // 2, : size // 2].astype(int)
            assert (corner[-(size // 2) + 1 :] == 255).all(), downsample
            assert (corner[:, -(size // 2) + 1 :] == 255).all(), downsample
            block = picture[-50:, -50:].reshape(-1, 3).mean(axis=0)
            np.testing.assert_allclose(inside.reshape(-1, 3).mean(axis=0), block, atol=8)  # no white mixed in
            assert (slide.read(-900, 40, 10, 10, downsample) == 255).all()
            assert (slide.read(40, 5000, 10, 10, downsample) == 255).all()


def test_pixels_that_fall_together_are_averaged(picture: Pixels, tmp_path: Path) -> None:
    with open_slide(write("tiled", tmp_path, picture)) as slide:
        read = slide.read(8, 12, 50, 30, 4.0)
        expected = picture[12:132, 8:208].reshape(30, 4, 50, 4, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(read, expected, atol=1)
        finer = slide.read(8, 12, 100, 60, 0.5)
        np.testing.assert_allclose(finer.reshape(30, 2, 50, 2, 3).mean(axis=(1, 3)), picture[12:42, 8:58], atol=4)


def test_parts_fit_together(picture: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles are read one by one: what is read does not depend on where they begin, nor on the size of a read."""
    with open_slide(write("tiled", tmp_path, picture)) as slide:
        for downsample in (1.0, 1.5, 0.8, 2.0):
            whole = slide.read(3, 5, 100, 90, downsample)
            right = slide.read(3 + 40 * downsample, 5 + 30 * downsample, 60, 60, downsample)
            assert np.abs(whole[30:, 40:].astype(int) - right).max() <= 1, downsample
            with monkeypatch.context() as patch:
                patch.setattr(module, "PIXELS_AT_ONCE", 500)
                assert np.abs(slide.read(3, 5, 100, 90, downsample).astype(int) - whole).max() <= 1


def test_the_nearest_finer_level_is_read(picture: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pyramid.tif"
    write_phantom_slide(path, tmp_path / "mask.tif", width=1500, height=1100, field=16, distinct=2, mpp=0.5)
    with open_slide(path) as slide:
        assert [(level.width, level.height) for level in slide.levels] == [(1500, 1100), (375, 275)]
        used = []
        original = type(slide).read_level

        def read_level(self: SlideReader, level: int, *place: int) -> Pixels:
            used.append(level)
            return original(self, level, *place)

        monkeypatch.setattr(type(slide), "read_level", read_level)
        reads = [slide.read(0, 0, 10, 10, downsample) for downsample in (0.5, 1.0, 3.9, 4.0, 9.0)]
        assert used == [0, 0, 0, 1, 1]
        np.testing.assert_allclose(reads[2].mean(), reads[3].mean(), atol=6)
        assert require_mpp(slide) == pytest.approx(0.5)
        thumbnail, downsample = slide.thumbnail(300)
        assert thumbnail.shape == (220, 300, 3)
        assert downsample == 5
    assert openslide.OpenSlide(path).level_dimensions == ((1500, 1100), (375, 275))
    assert tifffile.imread(tmp_path / "mask.tif").shape == (1100, 1500)
