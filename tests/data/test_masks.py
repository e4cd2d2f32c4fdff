"""A mask is its values: every kind of file gives the labels of the 8-bit grey one, or is refused with what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from histoproto.data.images import read_image, write_mask
from histoproto.data.masks import read_mask, read_selection
from histoproto.errors import DataError, HistoProtoError, ImageError
from histoproto.tissue import TissueSet

TISSUES = TissueSet.of("tumour", "stroma")
LABELS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [0, 0, 2, 2]], dtype=np.uint8)
COLOURS = TISSUES.rgb()[LABELS]


def palette(values: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(values)
    table = np.zeros((256, 3), np.uint8)
    for value, colour in colours.items():
        table[value] = colour
    image.putpalette(table.tobytes())
    return image


def with_alpha(image: Image.Image, alpha: np.ndarray) -> Image.Image:
    image = image.convert("LA" if image.mode == "L" else "RGBA")
    image.putalpha(Image.fromarray(alpha.astype(np.uint8)))
    return image


OPAQUE = np.full(LABELS.shape, 255)
BLACKENED = np.where(LABELS[..., None] == 2, 0, COLOURS).astype(np.uint8)
HOLED = np.where(LABELS == 2, 0, 255)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(LABELS),
        Image.fromarray(LABELS.astype(np.uint16)),
        Image.fromarray(LABELS.astype(np.int32)),
        palette(LABELS, {0: (255, 255, 255), 1: (9, 9, 9), 2: (200, 0, 0)}),  # whatever it looks like
        with_alpha(Image.fromarray(LABELS), OPAQUE),
        with_alpha(Image.fromarray(np.where(LABELS == 2, 0, LABELS)), HOLED),
        Image.fromarray(np.dstack([LABELS] * 3)),
        Image.fromarray(COLOURS),
        Image.fromarray(BLACKENED),
        with_alpha(Image.fromarray(COLOURS), OPAQUE),
        with_alpha(Image.fromarray(BLACKENED), HOLED),
    ],
    ids=["grey", "16 bit", "32 bit", "palette", "LA", "clear LA", "grey RGB", "RGB", "black RGB", "RGBA", "clear RGBA"],
)
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_masks_of_every_kind(tmp_path: Path, image: Image.Image, ending: str) -> None:
    if (ending, image.mode) in ((".tif", "LA"), (".png", "I")):
        pytest.skip("Pillow writes no such file")
    image.save(tmp_path / f"m{ending}")
    assert np.array_equal(read_mask(tmp_path / f"m{ending}", TISSUES, LABELS.shape), LABELS)


@pytest.mark.parametrize(
    ("image", "ending", "sentence"),
    [
        (Image.fromarray(LABELS * 50), ".jpg", "is JPEG, which changes values"),
        (Image.fromarray((LABELS == 0) * np.uint8(255)), ".png", "holds the values 255, expected only 0, 1, 2"),
        (Image.fromarray(LABELS.astype(np.uint16) + 300), ".png", "holds the values 300, 301, 302, expected only"),
        (Image.fromarray(LABELS.astype(np.float32)), ".tif", "is a F image"),
        (Image.fromarray(COLOURS + np.uint8(1)), ".png", "holds 2 colours of no tissue, such as #"),
        (Image.fromarray(np.zeros((3, 4, 3), np.uint8)), ".png", "may mean a value or a colour"),
        (with_alpha(Image.fromarray(COLOURS), OPAQUE // 2), ".png", "is half transparent"),
        (Image.fromarray(LABELS[:2]), ".png", "has 4 × 2 px, but its image has 4 × 3"),
    ],
)
def test_masks_that_are_none(tmp_path: Path, image: Image.Image, ending: str, sentence: str) -> None:
    path = tmp_path / f"m{ending}"
    image.save(path)
    with pytest.raises(HistoProtoError, match=sentence) as error:
        read_mask(path, TISSUES, LABELS.shape)
    assert str(path) in str(error.value)


def test_a_mask_of_several_pages_or_jpeg_in_tiff(tmp_path: Path) -> None:
    image = Image.fromarray(LABELS)
    image.save(tmp_path / "a.tif", save_all=True, append_images=[image])
    with pytest.raises(ImageError, match="has 2 pages, expected one"):
        read_mask(tmp_path / "a.tif", TISSUES)
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "b.tif", compression="jpeg")
    with pytest.raises(ImageError, match="is JPEG"):
        read_mask(tmp_path / "b.tif", TISSUES)


INSIDE = LABELS == 1
RED, WHITE, BLACK = (200, 0, 0), (255, 255, 255), (0, 0, 0)


def two(inside: tuple[int, int, int], outside: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.where(INSIDE[..., None], inside, outside).astype(np.uint8))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: Image.fromarray(INSIDE).save(path), 0),
        (lambda path: Image.fromarray(INSIDE * np.uint8(255)).save(path), 0),
        (lambda path: Image.fromarray(INSIDE * np.uint16(7000)).save(path), 0),
        (lambda path: palette(INSIDE * np.uint8(3), {0: WHITE, 3: RED}).save(path), 0),  # of QuPath
        (lambda path: palette(INSIDE * np.uint8(3), {0: BLACK, 3: WHITE}).save(path), 0),
        (lambda path: palette(np.where(INSIDE, 0, 4).astype(np.uint8), {0: RED, 4: WHITE}).save(path), 1),
        (lambda path: write_mask(path, np.where(INSIDE, 0, 2).astype(np.uint8), TISSUES), 1),  # of `predict`
        (lambda path: two(WHITE, BLACK).save(path), 0),
        (lambda path: two(RED, BLACK).save(path), 0),
        (lambda path: two(RED, WHITE).save(path), 1),
        (lambda path: with_alpha(two(BLACK, RED), INSIDE * 255).save(path), 0),
    ],
)
def test_what_a_mask_selects(tmp_path: Path, write: Callable[[Path], None], said: int) -> None:
    write(tmp_path / "m.png")
    inside, notes = read_selection(tmp_path / "m.png")
    assert np.array_equal(inside, INSIDE)
    assert len(notes) == said


def test_a_mask_that_selects_everything_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    Image.new("L", (4, 3), 1).save(path)
    assert read_selection(path).notes == ("the mask m.png selects the whole slide, glass and all",)
    Image.new("L", (4, 3)).save(path)
    with pytest.raises(DataError, match=r"m\.png selects nothing"):
        read_selection(path)
    Image.fromarray(np.array([[BLACK, WHITE, RED]], np.uint8)).save(path)
    with pytest.raises(ImageError, match="black, white and other colours"):
        read_selection(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_upright_as_its_image_is(orientation: int, tmp_path: Path) -> None:
    """An editor that marks pictures as turned does so with masks and images alike."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) % 3)
    stored.save(tmp_path / "m.png", exif=exif)
    stored.convert("RGB").save(tmp_path / "i.png", exif=exif)
    image = read_image(tmp_path / "i.png")[..., 0]
    assert np.array_equal(read_mask(tmp_path / "m.png", TISSUES, image.shape), image)
    stored.save(tmp_path / "m.tif", exif=exif)
    if orientation > 1:
        with pytest.raises(ImageError, match="turned or mirrored"):
            read_mask(tmp_path / "m.tif", TISSUES)
