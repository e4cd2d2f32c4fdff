import os

import numpy as np
import pytest
from PIL import Image

from histoproto.data.images import image_size, list_images, list_others, read_image, write_image, write_mask
from histoproto.data.masks import read_mask
from histoproto.errors import DataError, ImageError, OutputError, SettingError, TissueError
from histoproto.tissue import Tissue, TissueSet


def saved(tmp_path, image, name="a.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def test_rgb_survives_a_round_trip(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_image(tmp_path / "new" / "a.png", rgb)
    assert np.array_equal(read_image(tmp_path / "new" / "a.png"), rgb)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "1"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    image = Image.new("RGB", (4, 3), (200, 200, 200)).convert(mode)
    result = read_image(saved(tmp_path, image, "a.tif"))
    assert result.shape == (3, 4, 3)
    assert result.dtype == np.uint8
    expected = 255 if mode == "1" else 200  # a black-and-white image dithers to white or black
    assert mode == "1" or np.abs(result.astype(int) - expected).max() <= 10


def test_transparency_shows_glass(tmp_path):
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[0, 0] = (10, 20, 30, 255)
    pixels[0, 1] = (0, 0, 0, 128)
    result = read_image(saved(tmp_path, Image.fromarray(pixels)))
    assert result[0, 0].tolist() == [10, 20, 30]
    assert abs(int(result[0, 1, 0]) - 127) <= 1
    assert result[1, 1].tolist() == [255, 255, 255]


def test_sixteen_bits_are_scaled(tmp_path):
    grey = np.array([[0, 65535], [32768, 257]], dtype=np.uint16)
    result = read_image(saved(tmp_path, Image.fromarray(grey)))
    assert result[..., 0].tolist() == [[0, 255], [128, 1]]


def test_unusable_pixel_types_are_refused(tmp_path):
    deep = saved(tmp_path, Image.fromarray(np.full((2, 2), 70000, dtype=np.int32)), "i.tif")
    real = saved(tmp_path, Image.fromarray(np.zeros((2, 2), dtype=np.float32)), "f.tif")
    for path in (deep, real):
        with pytest.raises(ImageError, match="expected an image of 8 or 16 bits"):
            read_image(path)


def test_one_pixel_is_an_image(tmp_path):
    assert read_image(saved(tmp_path, Image.new("RGB", (1, 1)))).shape == (1, 1, 3)


def test_files_that_are_no_images_end_in_one_sentence(tmp_path, monkeypatch):
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = saved(tmp_path, Image.fromarray(rgb), "whole.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:3000])
    (tmp_path / "folder.png").mkdir()
    for name, reason in {
        "empty": "0 bytes",
        "text": "not an image",
        "cut": "damaged",
        "folder": "cannot be read",
        "absent": "there is no image",
    }.items():
        with pytest.raises(ImageError, match=reason) as caught:
            read_image(tmp_path / f"{name}.png")
        assert f"{name}.png" in str(caught.value)
        assert "\n" not in str(caught.value)
        if name != "cut":
            with pytest.raises(ImageError, match=reason):
                image_size(tmp_path / f"{name}.png")
    assert image_size(tmp_path / "cut.png") == (64, 64)  # from the header alone
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="2,000 pixels, too many"):
        read_image(whole)


def test_masks_use_the_values_and_colours_of_the_tissues(tmp_path):
    tissues = TissueSet((Tissue("a", "#102030", 7), Tissue("b", "#405060", 2)), background=0)
    labels = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
    write_mask(tmp_path / "m.png", labels, tissues)
    stored = Image.open(tmp_path / "m.png")
    assert stored.mode == "P"
    assert np.asarray(stored).tolist() == [[7, 2, 0], [0, 2, 7]]
    assert np.asarray(stored.convert("RGB"))[0].tolist() == [[16, 32, 48], [64, 80, 96], [255, 255, 255]]
    assert np.array_equal(read_mask(tmp_path / "m.png", tissues), labels)
    grey = saved(tmp_path, Image.fromarray(tissues.decode(labels)), "g.png")
    assert np.array_equal(read_mask(grey, tissues), labels)


def test_masks_of_another_kind_are_refused(tmp_path):
    tissues = TissueSet.of("a")
    with pytest.raises(ImageError, match="is a CMYK image"):
        read_mask(saved(tmp_path, Image.new("CMYK", (2, 2)), "a.tif"), tissues)
    with pytest.raises(TissueError, match=r"values 9, expected"):
        read_mask(saved(tmp_path, Image.new("L", (2, 2), 9)), tissues)


def test_images_are_listed_in_natural_order(tmp_path):
    for name in ("p10.png", "p9.PNG", "p1.jpg", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["p1.jpg", "p9.PNG", "p10.png"]
    with pytest.raises(DataError, match="no folder"):
        list_images(tmp_path / "absent")


def test_an_image_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_image(tmp_path / "file" / "a.png", np.zeros((1, 1, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", [b"a\xff.png", b"a\nb.png", b"\x1b[31m.png"])
def test_names_that_cannot_be_written_are_refused_before_any_work(tmp_path, name):
    (tmp_path / os.fsdecode(name)).touch()
    with pytest.raises(SettingError, match=r"an image in .* rename it"):
        list_images(tmp_path)


def test_what_is_called_an_image_and_is_none_is_not_passed_over(tmp_path):
    (tmp_path / "dead.png").symlink_to("nowhere")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["dead.png", "pipe.png", "zero.png"]
    for path in list_images(tmp_path):
        with pytest.raises(ImageError, match=path.name):
            read_image(path)


def test_what_else_lies_in_a_folder_is_told(tmp_path):
    for name in ("a.png", "b.jp2", "c.jp2", ".hidden", "notes"):
        (tmp_path / name).touch()
    assert list_others(tmp_path) == "2 .jp2, 1 without an ending"
