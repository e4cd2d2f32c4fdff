"""A piece of a map is one picture that holds the tissue and the chance of each."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from histoproto.studio.maps import map_picture


def test_planes_come_back_from_the_picture() -> None:
    rng = np.random.default_rng(0)
    for tissues in (1, 2, 3, 5):
        labels = rng.integers(0, tissues + 1, (7, 11)).astype(np.uint8)
        chances = rng.integers(0, 256, (tissues, 7, 11)).astype(np.uint8)
        picture = np.asarray(Image.open(io.BytesIO(map_picture(labels, chances))))
        assert picture.shape == (7 * -(-(1 + tissues) // 3), 11, 3)
        for plane, expected in enumerate([labels, *chances]):  # as map.js finds them
            block = picture[7 * (plane // 3) : 7 * (plane // 3) + 7]
            np.testing.assert_array_equal(block[..., plane % 3], expected)
