from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from histoproto.data.images import image_size, read_image, read_picture
from histoproto.errors import ImageError

Pixels = NDArray[np.uint8]
T = Image.Transpose
UPRIGHT = {2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_270, 8: T.ROTATE_90}


@pytest.fixture
def rgb() -> Pixels:
    """Of every value, bright and dark."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    pixels[:20] = 244
    return pixels


def tiff(path: Path, values: NDArray[Any], **options: Any) -> Path:
    tifffile.imwrite(path, values, **{"photometric": "rgb", "metadata": None, **options})
    return path


def deep(rgb: Pixels, bits: int) -> NDArray[np.uint16]:
    return np.round(rgb.astype(float) * (2**bits - 1) / 255).astype(np.uint16)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_pixels_are_scaled_where_the_file_says_how_deep(rgb: Pixels, bits: int, tmp_path: Path) -> None:
    values = deep(rgb, bits)
    most = (281, 3, 3, (2**bits - 1,) * 3, True)
    assert np.array_equal(read_image(tiff(tmp_path / "max.tif", values, extratags=[most])), rgb)
    tifffile.imwrite(tmp_path / "a.ome.tif", values, photometric="rgb", metadata={"SignificantBits": bits})
    assert np.array_equal(read_image(tmp_path / "a.ome.tif"), rgb)
    if bits < 16:
        assert np.array_equal(read_image(tiff(tmp_path / "packed.tif", values, bitspersample=bits)), rgb)
    for silent in (tiff(tmp_path / "a.tif", values), tmp_path / "a.png"):
        if silent.suffix == ".png":
            silent.write_bytes(imagecodecs.png_encode(values))
        if bits == 16:
            assert np.array_equal(read_image(silent), rgb)
        else:
            with pytest.raises(ImageError, match=f"16 bits per channel, but no value above {2**bits - 1}"):
                read_image(silent)


def test_grey_in_all_its_ways(rgb: Pixels, tmp_path: Path) -> None:
    grey = rgb[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(read_image(tiff(tmp_path / "a.tif", grey, photometric="minisblack")), expected)
    assert np.array_equal(read_image(tiff(tmp_path / "b.tif", 255 - grey, photometric="miniswhite")), expected)
    inverted = (255 - grey).astype(np.uint16) * 257
    assert np.array_equal(read_image(tiff(tmp_path / "c.tif", inverted, photometric="miniswhite")), expected)
    black = grey > 100
    assert np.array_equal(read_image(tiff(tmp_path / "d.tif", black, photometric="minisblack"))[..., 0], 255 * black)


def test_transparency_is_glass(rgb: Pixels, tmp_path: Path) -> None:
    alpha = np.where(rgb[..., :1] == 244, 0, 255).astype(np.uint8)
    expected = np.where(alpha == 0, 255, rgb)
    premultiplied = np.where(alpha == 0, 0, rgb)
    straight, ready = np.dstack([rgb, alpha]), np.dstack([premultiplied, alpha])
    Image.fromarray(straight).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), expected)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(straight.astype(np.uint16) * 257))
    assert np.array_equal(read_image(tmp_path / "deep.png"), expected)
    assert np.array_equal(read_image(tiff(tmp_path / "a.tif", straight, extrasamples=["unassalpha"])), expected)
    assert np.array_equal(read_image(tiff(tmp_path / "b.tif", ready, extrasamples=["assocalpha"])), expected)
    opaque = np.dstack([rgb, np.full_like(alpha, 255)])
    tiled = {"extrasamples": ["unspecified"], "tile": (64, 64)}
    assert np.array_equal(read_image(tiff(tmp_path / "c.tif", opaque, **tiled)), rgb)
    with pytest.raises(ImageError, match="a channel beside its colours"):
        read_image(tiff(tmp_path / "d.tif", straight, **tiled))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_pictures_stand_upright(rgb: Pixels, orientation: int, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tiff(path, rgb, extratags=[(274, 3, 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(rgb).save(path, exif=exif, lossless=True)
    expected = np.asarray(Image.fromarray(rgb).transpose(UPRIGHT[orientation]))
    assert np.array_equal(read_image(path), expected)
    assert image_size(path) == expected.shape[:2]


def test_cmyk_and_palettes(rgb: Pixels, tmp_path: Path) -> None:
    few = rgb // 64 * 64
    palette = Image.fromarray(few).quantize(256, dither=Image.Dither.NONE)
    for name in ("a.png", "a.tif"):
        palette.save(tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name), np.asarray(palette.convert("RGB")))
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "b.tif")
    picture = read_picture(tmp_path / "b.tif")
    assert np.array_equal(picture.pixels, rgb)
    assert picture.notes == ("its CMYK is turned into RGB without a colour profile",)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rgb: rgb.astype(np.float32) / 255, "float32"),
        (lambda rgb: rgb.astype(np.float16) / 255, "float16"),
        (lambda rgb: rgb.astype(np.int16), "int16"),
        (lambda rgb: (rgb // 2).astype(np.int8), "int8"),
        (lambda rgb: rgb.astype(np.uint32) << 24, "uint32"),
        (lambda rgb: np.stack([rgb, rgb[::-1]]), "2 images"),
    ],
)
def test_other_kinds_are_refused(change: Callable[[Pixels], Any], sentence: str, rgb: Pixels, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=sentence):
        read_image(tiff(tmp_path / "a.tif", change(rgb)))


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_other_colours_are_refused(mode: str, rgb: Pixels, tmp_path: Path) -> None:
    Image.fromarray(rgb).convert(mode).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="save it as 8-bit RGB"):
        read_image(tmp_path / "a.tif")


def test_pixels_that_are_not_square_are_refused(rgb: Pixels, tmp_path: Path) -> None:
    def saved(across: float, down: float, unit: str = "CENTIMETER") -> Path:
        return tiff(tmp_path / "a.tif", rgb, resolution=(across, down), resolutionunit=unit)

    for size in ((1e4, 5e3), (1e4, 0.97e4)):
        with pytest.raises(
            ImageError, match=r"has pixels of 1 × (2|1\.031) µm \(resolution tag\), expected square ones"
        ):
            read_image(saved(*size))
    ome = tmp_path / "b.ome.tif"
    tifffile.imwrite(ome, rgb, photometric="rgb", metadata={"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 1.0})
    with pytest.raises(ImageError, match=r"0\.5 × 1 µm \(OME PhysicalSize\)"):
        read_image(ome)
    for square in (saved(1e4, 0.99e4), saved(72, 72, "INCH"), saved(600, 300, "INCH")):  # the last is no microscope's
        assert np.array_equal(read_image(square), rgb)


def test_several_pictures(rgb: Pixels, tmp_path: Path) -> None:
    image = Image.fromarray(rgb)
    other = [image.rotate(180)]
    image.save(tmp_path / "a.png", save_all=True, append_images=other)
    image.save(tmp_path / "a.webp", save_all=True, append_images=other)
    image.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=other)
    for name in ("a.png", "a.webp", "a.jpg"):
        with pytest.raises(ImageError, match="holds 2 pictures, expected one"):
            read_image(tmp_path / name)
        with pytest.raises(ImageError, match="holds 2 pictures, expected one"):
            image_size(tmp_path / name)
    image.save(tmp_path / "b.jpg", format="MPO", save_all=True, append_images=[image.resize((20, 20))])
    assert read_picture(tmp_path / "b.jpg").notes == ("of its 2 pictures the first is read, which is the largest",)


def test_only_the_formats_that_are_named_are_opened(
    rgb: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An EPS would start Ghostscript, whatever it is called."""
    from PIL import EpsImagePlugin

    def ghostscript(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", ghostscript)
    for format in ("EPS", "GIF", "PPM", "TGA", "PDF", "ICO", "JPEG2000"):
        Image.fromarray(rgb).save(tmp_path / "x.png", format=format)
        with pytest.raises(ImageError, match="of a format that is not read: PNG, JPEG, TIFF, BMP and WebP are"):
            read_image(tmp_path / "x.png")
        with pytest.raises(ImageError, match="not read"):
            image_size(tmp_path / "x.png")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match="it is no file"):
        read_image(tmp_path / "a.png")
