from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from histoproto.errors import OutputError
from histoproto.slides.labelling.raster import LabelRaster


def test_blocks_land_where_an_array_would_put_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    expected = np.full((37, 53), 4, np.uint8)
    with LabelRaster.create(tmp_path / "labels", 37, 53, fill=4) as raster:
        for _ in range(40):
            top, left = int(rng.integers(37)), int(rng.integers(53))
            block = rng.integers(0, 4, (rng.integers(37 - top + 1), rng.integers(53 - left + 1)), np.uint8)
            # Also blocks that are views, not contiguous.
            raster.write(top, left, np.asfortranarray(block))
            expected[top : top + block.shape[0], left : left + block.shape[1]] = block
            assert np.array_equal(raster.read(top, left, *block.shape), block)
        raster.write(10, 0, np.ones((3, 53), np.uint8))
        expected[10:13] = 1
        assert raster.shape == (37, 53)
    with LabelRaster.open(tmp_path / "labels", 37, 53) as again:
        assert np.array_equal(again.read(0, 0, 37, 53), expected)
        assert np.array_equal(np.concatenate([block for _, block in again.rows(10)]), expected)
        assert [top for top, _ in again.rows(10)] == [0, 10, 20, 30]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with LabelRaster.create(tmp_path / "labels", 5, 5) as raster:
        for top, left, height, width in [(-1, 0, 1, 1), (0, 0, 6, 1), (4, 4, 1, 2)]:
            with pytest.raises(ValueError, match="not within a raster"):
                raster.read(top, left, height, width)
            with pytest.raises(ValueError, match="not within a raster"):
                raster.write(top, left, np.zeros((height, width), np.uint8))
    with pytest.raises(ValueError, match="holds 25 bytes"):
        LabelRaster.open(tmp_path / "labels", 5, 6)
    with pytest.raises(ValueError, match="is none"):
        LabelRaster.create(tmp_path / "labels", 0, 6)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    full = tmp_path / "labels"
    full.symlink_to("/dev/full")
    with pytest.raises(OutputError, match=os.strerror(errno.ENOSPC)):
        LabelRaster.create(full, 5, 5)
