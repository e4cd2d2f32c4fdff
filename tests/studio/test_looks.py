"""Tiles that are not worth a label: glass, ink of a pen, blur."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from histoproto.data.phantom import phantom_region
from histoproto.data.phantom_slide import draw_slide
from histoproto.studio.looks import Look, look_at, poor_looks
from histoproto.studio.records import Tile


def drawn(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return phantom_region(rng, 128, 128, draw_slide(rng), glass=False, mpp=1.0)[0]


def tiles(count: int) -> list[Tile]:
    return [Tile(number, "a", 0, 0, 128, False) for number in range(count)]


@pytest.mark.parametrize("ink", [(20, 60, 160), (30, 110, 60), (200, 30, 40), (25, 22, 28)])
def test_tissue_is_seen_and_ink_over_it(ink: tuple[int, int, int]) -> None:
    pixels = drawn()
    clean = look_at(pixels)
    assert clean.tissue > 0.8
    assert clean.ink < 0.02
    pixels[:, :40] = ink
    assert look_at(pixels).ink == pytest.approx(40 / 128, abs=0.02)


def test_glass_ink_and_blur_are_poor_and_the_rest_is_not() -> None:
    looks = {number: look_at(drawn(number)) for number in range(10)}
    glass = np.full((128, 128, 3), 238, np.uint8)
    glass[:30] = drawn()[:30]
    pen, blurred = drawn(1), np.asarray(Image.fromarray(drawn(2)).filter(ImageFilter.GaussianBlur(4)))
    pen[:60] = 20, 60, 160
    looks |= {10: look_at(glass), 11: look_at(pen), 12: look_at(blurred)}
    assert np.flatnonzero(poor_looks(tiles(14), looks)).tolist() == [10, 11, 12]  # of the last nothing is known


def test_ink_everywhere_is_a_dye() -> None:
    looks = {number: Look(0.2, 0.6, 1.0) for number in range(10)}
    assert not poor_looks(tiles(10), looks).any()
    assert not poor_looks([], {}).size
