from __future__ import annotations

import numpy as np
import pytest

from histoproto.slides.labelling.tissue_finder import find_tissue

GLASS, HE, HAEMATOXYLIN, TRICHROME = (244, 243, 245), (200, 140, 190), (90, 85, 160), (110, 160, 150)
PURPLE = (176, 82, 200)


def disc(tissue: tuple[int, int, int], ink: tuple[int, int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A disc of tissue on glass, 31,400 pixels, and a line of ink above it, 3,600 pixels; and where the disc is."""
    y, x = np.mgrid[:256, :256]
    inside = (y - 140) ** 2 + (x - 128) ** 2 < 100**2
    picture = np.where(inside[..., None], tissue, GLASS)
    if ink:
        picture[10:28, 20:220] = ink
    noise = np.random.default_rng(0).normal(0, 2, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8), inside


@pytest.mark.parametrize(("dye", "name"), [(HAEMATOXYLIN, "blue"), (TRICHROME, "green")])
def test_a_blue_or_green_dye_is_no_ink(dye: tuple[int, int, int], name: str) -> None:
    picture, inside = disc(dye)
    tissue = find_tissue(picture, 8.0)
    assert tissue.mask[inside].all()
    assert tissue.mask.sum() < 1.1 * inside.sum()
    (note,) = tissue.notes
    assert f"of what is coloured is {name}: taken for tissue" in note


@pytest.mark.parametrize(("ink", "name"), [((30, 40, 160), "blue"), ((20, 120, 60), "green"), ((200, 30, 40), "red")])
@pytest.mark.parametrize("stain", [HE, PURPLE])
def test_a_pen_is_left_out_and_said(stain: tuple[int, int, int], ink: tuple[int, int, int], name: str) -> None:
    picture, inside = disc(stain, ink)
    tissue = find_tissue(picture, 8.0)
    assert tissue.mask[inside].all()
    assert not tissue.mask[:28].any()
    (note,) = tissue.notes
    assert f"of what is coloured is {name}: left out" in note


def test_a_pale_dye_is_known_by_the_tinge_of_the_rest() -> None:
    """Haematoxylin alone with few nuclei: less of it is strongly blue than ink may be, but all of it is bluish."""
    picture, inside = disc((213, 210, 235))
    y, x = np.mgrid[:256, :256]
    picture[inside & (y % 16 < 6) & (x % 16 < 6)] = (100, 94, 168)
    tissue = find_tissue(picture, 8.0)
    assert tissue.mask[inside].all()
    (note,) = tissue.notes
    assert "taken for tissue, as all the rest is bluish, too" in note


def test_blood_and_brown_are_no_red_ink() -> None:
    for colour in ((200, 90, 105), (130, 85, 45)):
        picture, inside = disc(HE)
        spot = inside & (np.mgrid[:256, :256][0] > 200)
        picture[spot] = colour
        assert find_tissue(picture, 8.0).mask[inside].all()


def test_nothing_to_say_of_plain_tissue_and_nothing_found_on_glass() -> None:
    assert find_tissue(disc(HE)[0], 8.0).notes == ()
    assert find_tissue(disc(GLASS)[0], 8.0).notes == ("no tissue was found: nothing is coloured",)
