"""The size of a training set is that of most of its images, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from histoproto.data.dataset import fit_label_map, fit_to_size, mirror_to_square
from histoproto.data.images import write_image
from histoproto.data.layouts import Patch
from histoproto.errors import DataError
from histoproto.training.patch_size import choose_patch_size


def patches(folder: Path, *shapes: tuple[int, int]) -> list[Patch]:
    for index, shape in enumerate(shapes):
        write_image(folder / f"{index}.png", np.zeros((*shape, 3), np.uint8))
    return [Patch(folder / f"{index}.png", (1,), None, "g") for index in range(len(shapes))]


def test_the_commonest_size(tmp_path: Path) -> None:
    assert choose_patch_size(patches(tmp_path, (64, 64), (64, 64))) == (64, [])
    size, notes = choose_patch_size(patches(tmp_path, (24, 24), (64, 64), (64, 64), (64, 64), (64, 90)))
    assert size == 64
    assert notes == [
        "1 of 5 training patches are not 64 × 64 px as most are, and are resized to 64 px, so that they are seen at "
        "another scale: 0.png (24 × 24)",
        "1 of 5 training patches are not square, and are mirrored at their edges to become it: 4.png (90 × 64)",
    ]


def test_many_sizes_need_a_word(tmp_path: Path) -> None:
    many = patches(tmp_path, (24, 24), (64, 64), (64, 64), (65, 65), (66, 66))
    with pytest.raises(DataError, match=r"5 training patches have 4 sizes.*64 × 64 px \(2\).*data\.patch_size=N"):
        choose_patch_size(many)
    assert choose_patch_size(many, 32)[0] == 32


def test_nothing_is_squashed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 10, 3), dtype=np.uint8)
    square = mirror_to_square(image)
    assert square.shape == (10, 10, 3)
    assert np.array_equal(square[3:7], image)
    assert np.array_equal(square[2], image[0])
    assert np.array_equal(fit_to_size(image, 10), square)
    assert np.array_equal(mirror_to_square(image[..., 0]), square[..., 0])
    assert np.array_equal(fit_label_map(image[..., 0], 10), square[..., 0])  # a mask with its patch
    assert set(fit_label_map(image[..., 0], 5).flatten()) <= set(image[..., 0].flatten())  # no label is invented
