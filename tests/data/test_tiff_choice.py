"""Which of several images in a TIFF file is read, where the user says it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from histoproto.errors import ImageError
from histoproto.slides.reading.opening import open_slide
from histoproto.slides.reading.protocol import SlideReader

Pixels = NDArray[np.uint8]


def drawn(seed: int, height: int = 90, width: int = 120) -> Pixels:
    return np.random.default_rng(seed).integers(100, 255, (height, width, 3), np.uint8)


def whole(slide: SlideReader) -> Pixels:
    return slide.read(0, 0, slide.width, slide.height)


def two_scans(path: Path) -> tuple[Path, list[Pixels]]:
    """An OME-TIFF with a macro picture and two scans of one size, each with a pyramid and µm/px of its own."""
    images = [drawn(0, 30, 40), drawn(1), drawn(2)]
    tiled = {"tile": (32, 32), "photometric": "rgb"}
    with tifffile.TiffWriter(path, ome=True) as file:
        for pixels, name, mpp in zip(images, ("Macro", "Scan A", "Scan B"), (8.0, 0.5, 0.25), strict=True):
            size = {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
            file.write(pixels, **tiled, subifds=1, metadata={"axes": "YXS", "Name": name, **size})
            file.write(pixels[::2, ::2].copy(), **tiled, subfiletype=1)
    return path, images


@pytest.mark.parametrize(
    ("wanted", "place"), [("2", 1), ("3", 2), ("Scan B", 2), ("scan a", 1), (" 3 ", 2), ("macro", 0)]
)
def test_an_image_is_read_by_number_or_name_with_its_own_pyramid_and_scale(
    wanted: str, place: int, tmp_path: Path
) -> None:
    path, images = two_scans(tmp_path / "a.ome.tif")
    with pytest.raises(ImageError, match=r"2 images .*image 2 'Scan A'.*image 3 'Scan B'.* name it with --image"):
        open_slide(path)
    with open_slide(path, image=wanted) as slide:
        assert np.array_equal(whole(slide), images[place])
        assert np.array_equal(slide.read_level(1, 0, 0, 16, 10), images[place][::2, ::2][:10, :16])
        assert slide.mpp == (8.0, 0.5, 0.25)[place]
        assert slide.image == ("Macro", "Scan A", "Scan B")[place]
        assert f"the one that was named is read, image {place + 1}" in slide.notes[0]


@pytest.mark.parametrize("wanted", ["", "0", "4", "-1", "1.0", "Scan C", "Scan", "\x1b[2J"])
def test_an_image_that_is_not_there_is_refused_with_those_that_are(wanted: str, tmp_path: Path) -> None:
    path, _ = two_scans(tmp_path / "a.ome.tif")
    with pytest.raises(ImageError, match=r"no image '.*image 1 'Macro'.*image 3 'Scan B'.* give the number") as refusal:
        open_slide(path, image=wanted)
    assert "\x1b" not in str(refusal.value)


def test_two_of_one_name_need_the_number(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for seed in (1, 2):
            file.write(drawn(seed), photometric="rgb", metadata={"axes": "YXS", "Name": "scan"})
    with pytest.raises(ImageError, match="2 images called 'scan'"):
        open_slide(tmp_path / "a.ome.tif", image="scan")
    with open_slide(tmp_path / "a.ome.tif", image="2") as slide:
        assert np.array_equal(whole(slide), drawn(2))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_pages_of_one_size_are_images_of_their_own(compression: str | None, number: int, tmp_path: Path) -> None:
    """Such as sections of a block in one file; tifffile takes them for a stack."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for seed in (1, 2, 3):
            resolution = {"resolution": (1e4 * seed, 1e4 * seed), "resolutionunit": "CENTIMETER"}
            file.write(drawn(seed), photometric="rgb", compression=compression, metadata=None, **resolution)
    with pytest.raises(ImageError, match="3 images that could be meant"):
        open_slide(tmp_path / "a.tif")
    with open_slide(tmp_path / "a.tif", image=str(number)) as slide:
        assert np.array_equal(whole(slide), drawn(number))
        assert slide.mpp == pytest.approx(1 / number)
        assert slide.image == f"image {number}"


@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_a_plane_of_a_stack_is_read(kind: str, tmp_path: Path) -> None:
    planes = np.stack([drawn(seed) for seed in range(4)])
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    metadata = {"axes": "ZYXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5} if kind == "ome" else {"axes": "ZYXS"}
    tifffile.imwrite(path, planes, photometric="rgb", imagej=kind == "imagej", metadata=metadata)
    with pytest.raises(ImageError, match=r"4 images that could be meant .* pixels, Z = 3\)"):
        open_slide(path)
    with open_slide(path, image="3") as slide:
        assert np.array_equal(whole(slide), planes[2])
        assert slide.mpp == (0.5 if kind == "ome" else None)


def test_channels_are_no_images_to_choose_from(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.stack([drawn(0)[..., 0]] * 5), photometric="minisblack", metadata={"axes": "CYX"}
    )
    with pytest.raises(ImageError, match="no image '2'"):
        open_slide(tmp_path / "a.ome.tif", image="2")
    with pytest.raises(ImageError, match="5 pages"):
        open_slide(tmp_path / "a.ome.tif", image="1")


@pytest.mark.parametrize("size", ["SizeC", "SizeZ", "SizeT"])
def test_planes_that_nobody_could_store_are_not_looked_for(size: str, tmp_path: Path) -> None:
    sizes = {"SizeX": 120, "SizeY": 90, "SizeC": 3, "SizeZ": 1, "SizeT": 1, size: 10**9}
    told = " ".join(f'{name}="{value}"' for name, value in sizes.items())
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" {told}>'
        '<Channel SamplesPerPixel="3"/><TiffData IFD="0"/></Pixels></Image></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", drawn(0), photometric="rgb", description=xml.encode(), metadata=None)
    with pytest.raises(ImageError, match=r"1000000000 .* beyond any slide"):
        open_slide(tmp_path / "a.ome.tif")


def test_a_name_does_not_fill_the_screen(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif", drawn(0), photometric="rgb", metadata={"axes": "YXS", "Name": "x\n" * 99999}
    )
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert slide.image == ("x " * 40)


def test_formats_that_hold_one_slide_have_nothing_to_choose(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(drawn(0)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"one image that can be meant; --image is for TIFF"):
        open_slide(tmp_path / "a.png", 1, "1")
