from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from histoproto.data.tiff_scale import micrometres
from histoproto.errors import DataError, ImageError
from histoproto.slides.reading.opening import open_slide, require_mpp
from histoproto.slides.reading.protocol import SlideReader
from slide_files import write

Pixels = NDArray[np.uint8]
TILED: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb"}


def whole(slide: SlideReader) -> Pixels:
    return slide.read(0, 0, slide.width, slide.height)


def ome(path: Path, *images: tuple[Pixels, str, float]) -> Path:
    """An OME-TIFF of these images with their names and µm/px."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for pixels, name, mpp in images:
            size = {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
            file.write(pixels, **TILED, metadata={"axes": "YXS", "Name": name, **size})
    return path


def test_a_broken_tile_says_where(picture: Pixels, tmp_path: Path) -> None:
    path = write("bigtiff", tmp_path, picture)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        offset, count = page.dataoffsets[10], page.databytecounts[10]  # the fourth tile of the second row
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    with open_slide(path) as slide:
        assert slide.read(0, 0, 64, 64).shape == (64, 64, 3)
        with pytest.raises(ImageError, match=r"bigtiff\.tif cannot be read near pixel \(170, 60\)"):
            slide.read(170, 60, 40, 40)


def test_the_largest_image_is_read_at_its_own_scale(picture: Pixels, tmp_path: Path) -> None:
    path = ome(tmp_path / "a.ome.tif", (picture[::8, ::8].copy(), "macro", 8.0), (picture, "slide", 1.0))
    with open_slide(path) as slide:
        assert np.array_equal(whole(slide), picture)
        assert (slide.mpp, slide.image, slide.mpp_from) == (1.0, "slide", "OME PhysicalSize")
        (note,) = slide.notes
        assert "of its 2 images the largest is read, image 2 'slide' of 421 × 300 pixels" in note
        assert "image 1 'macro' of 53 × 38 pixels" in note


def test_a_macro_picture_larger_than_the_scan_is_left_out(picture: Pixels, tmp_path: Path) -> None:
    path = ome(tmp_path / "a.ome.tif", (picture, "Macro image", 8.0), (picture[:200, :200].copy(), "scan_1", 1.0))
    with open_slide(path) as slide:
        assert np.array_equal(whole(slide), picture[:200, :200])
        assert slide.mpp == 1.0


def test_several_that_could_be_meant_are_refused_by_name(picture: Pixels, tmp_path: Path) -> None:
    path = ome(tmp_path / "a.ome.tif", (picture, "region 1", 1.0), (picture[:250].copy(), "region 2", 0.5))
    with pytest.raises(ImageError, match=r"2 images that could be meant \(image 1 'region 1' .* image 2 'region 2'"):
        open_slide(path)
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([picture, picture[::-1]]), photometric="rgb", metadata=None)
    with pytest.raises(ImageError, match=r"2 images .* image 2 of 421 × 300 pixels\); name it with --image"):
        open_slide(tmp_path / "pages.tif")


@pytest.mark.parametrize("tags", [{}, {"subfiletype": 1}])
def test_pages_that_halve_are_a_pyramid(picture: Pixels, tags: dict[str, int], tmp_path: Path) -> None:
    even = picture[:, :420]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(even, **TILED, metadata=None)
        file.write(even[::2, ::2].copy(), **TILED, metadata=None, **tags)
    with open_slide(tmp_path / "a.tif") as slide:
        assert [(level.width, level.downsample) for level in slide.levels] == [(420, 1.0), (210, 2.0)]
        assert slide.notes == []


@pytest.mark.parametrize("axes", ["ZYXS", "TYXS", "CYX"])
def test_stacks_times_and_stains_are_refused(axes: str, picture: Pixels, tmp_path: Path) -> None:
    stack = np.stack([picture] * 2) if "S" in axes else np.stack([picture[..., 0]] * 5)
    kind = "rgb" if "S" in axes else "minisblack"
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, photometric=kind, metadata={"axes": axes})
    sentence = (
        "pages of 421 × 300 pixels .* expected one RGB or grey image" if axes == "CYX" else "2 images that could be"
    )
    with pytest.raises(ImageError, match=sentence):
        open_slide(tmp_path / "a.ome.tif")


def test_three_planes_are_rgb_unless_they_are_stains(picture: Pixels, tmp_path: Path) -> None:
    def planes(values: Pixels, *names: str) -> Path:
        metadata = {"axes": "CYX", **({"Channel": {"Name": list(names)}} if names else {})}
        tifffile.imwrite(tmp_path / "a.ome.tif", np.moveaxis(values, 2, 0), photometric="minisblack", metadata=metadata)
        return tmp_path / "a.ome.tif"

    with open_slide(planes(picture, "Red", "Green", "Blue")) as slide:
        assert np.array_equal(whole(slide), picture)
        assert slide.notes == []
    with open_slide(planes(picture)) as slide:
        assert "three channels do not say which colours they are" in slide.notes[0]
    with pytest.raises(ImageError, match="channels dapi, fitc, cy5, expected red, green and blue"):
        open_slide(planes(picture, "DAPI", "FITC", "Cy5"))
    with pytest.raises(ImageError, match="three dark channels"):
        open_slide(planes(picture // 8))


def test_files_that_ome_names_are_not_opened(picture: Pixels, tmp_path: Path) -> None:
    """Neither in another folder nor in the same one: what is shown lies in the file that was named."""
    (tmp_path / "secret").mkdir()
    outside = tmp_path / "secret" / "x.tif"
    tifffile.imwrite(outside, picture[::-1], photometric="rgb")
    for name in ("../secret/x.tif", str(outside)):
        xml = f"""<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"
          UUID="urn:uuid:1"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="421"
          SizeY="300" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="1" PhysicalSizeY="1">
          <Channel ID="Channel:0" SamplesPerPixel="3"/><TiffData IFD="0"><UUID FileName="{name}">urn:uuid:2</UUID>
          </TiffData></Pixels></Image></OME>"""
        (tmp_path / "public").mkdir(exist_ok=True)
        path = tmp_path / "public" / "a.ome.tif"
        tifffile.imwrite(path, picture, photometric="rgb", description=xml.encode(), metadata=None)
        with open_slide(path) as slide:
            assert np.array_equal(whole(slide), picture)
        with open_slide(path) as slide:  # its own channels are three, those of one of many files would be one
            assert slide.mpp == 1
        grey = xml.replace('<Channel ID="Channel:0" SamplesPerPixel="3"/>', "")
        tifffile.imwrite(path, picture[..., 0], photometric="minisblack", description=grey.encode(), metadata=None)
        with pytest.raises(ImageError, match="one of several files"):
            open_slide(path)


@pytest.mark.parametrize(
    ("options", "mpp"),
    [
        ({"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}, 1.0),
        ({"resolution": (25400, 25400), "resolutionunit": "INCH"}, 1.0),
        ({"resolution": (4e4, 4e4), "resolutionunit": "CENTIMETER"}, 0.25),
        ({"resolution": (3175, 3175), "resolutionunit": "INCH"}, 8.0),
        ({"resolution": (1000, 1000), "resolutionunit": "CENTIMETER"}, 10.0),
        ({"resolution": (1e4, 1e4), "resolutionunit": "NONE"}, None),
        ({"resolution": (0, 0), "resolutionunit": "INCH"}, None),
        *(({"resolution": (dots, dots), "resolutionunit": "INCH"}, None) for dots in (72, 96, 300, 600, 1200, 4800)),
        *(({"resolution": (dots / 2.54,) * 2, "resolutionunit": "CENTIMETER"}, None) for dots in (600, 1200, 2400)),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "micron"}}, 0.5),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "\\u00B5m"}}, 0.5),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "um"}}, 0.5),
        ({"imagej": True, "resolution": (0.002, 0.002), "metadata": {"unit": "nm"}}, 0.5),
        ({"imagej": True, "resolution": (2000, 2000), "metadata": {"unit": "mm"}}, 0.5),
        ({"imagej": True, "resolution": (300, 300), "metadata": {"unit": "inch"}}, None),
        ({"imagej": True, "resolution": (1, 1), "metadata": {"unit": "pixel"}}, None),
        ({}, None),
    ],
)
def test_scales_in_tags(options: dict[str, Any], mpp: float | None, picture: Pixels, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture, **{"photometric": "rgb", "metadata": None, **options})
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == (mpp and pytest.approx(mpp))


def test_a_printers_resolution_is_said(picture: Pixels, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", resolution=(600, 600), resolutionunit="INCH")
    with open_slide(tmp_path / "a.tif") as slide:
        assert "600 dots per inch, as printers" in slide.notes[0]
        with pytest.raises(DataError, match=r"does not say .*600 dots per inch.* --mpp"):
            require_mpp(slide)


@pytest.mark.parametrize(
    ("x", "unit", "mpp"),
    [
        (0.25, None, 0.25),
        (250, "nm", 0.25),
        (2.5e-4, "mm", 0.25),
        (2500, "Å", 0.25),
        (0.25, "pixel", None),
        (0, None, None),
    ],
)
def test_scales_in_ome(x: float, unit: str | None, mpp: float | None, picture: Pixels, tmp_path: Path) -> None:
    size = {"PhysicalSizeX": x, "PhysicalSizeY": x}
    units = {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit} if unit else {}
    tifffile.imwrite(tmp_path / "a.ome.tif", picture, photometric="rgb", metadata={**size, **units})
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert slide.mpp == (mpp and pytest.approx(mpp))


def test_oblong_pixels_are_refused_and_told_scales_compared(picture: Pixels, tmp_path: Path) -> None:
    def oblong(x: float, y: float) -> Path:
        metadata = {"PhysicalSizeX": x, "PhysicalSizeY": y}
        tifffile.imwrite(tmp_path / "a.ome.tif", picture, photometric="rgb", metadata=metadata)
        return tmp_path / "a.ome.tif"

    with pytest.raises(ImageError, match=r"pixels of 1 × 2 µm \(OME PhysicalSize\), expected square ones"):
        open_slide(oblong(1, 2))
    with open_slide(oblong(1, 1.01)) as slide:
        assert slide.mpp == pytest.approx(1.01**0.5)
    with open_slide(oblong(0.5, 0.5), 0.25) as slide:
        assert slide.mpp == 0.25
        assert slide.notes == ["0.25 µm/px is taken, as told, though the file says 0.5 (OME PhysicalSize)"]
    with open_slide(oblong(0.5, 0.5), 0.501) as slide:
        assert slide.notes == []
    with pytest.raises(DataError, match="µm/px of a slide must be"):
        open_slide(oblong(1, 1), mpp=0)


def test_a_scale_far_from_the_wanted_is_doubted_unless_it_was_told(picture: Pixels, tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif", picture, photometric="rgb", metadata={"PhysicalSizeX": 4, "PhysicalSizeY": 4}
    )
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert require_mpp(slide, wanted=1) == require_mpp(slide, wanted=0.5) == require_mpp(slide, wanted=60) == 4
        for wanted, words in ((0.4, "10 times coarser"), (80, "20 times finer")):
            with pytest.raises(DataError, match=f"{words} than .* say so with --mpp 4"):
                require_mpp(slide, wanted=wanted)
    with open_slide(tmp_path / "a.ome.tif", 4) as slide:
        assert require_mpp(slide, wanted=0.1) == 4


@pytest.mark.parametrize(
    ("said", "mpp"),
    [("0.25", 0.25), ("2.5e-1", 0.25), ("0,25", 0.25), ("-0.25", None), ("0", None), ("x", None), ("", None)],
)
def test_scales_of_aperio_beside_those_of_tags(said: str, mpp: float | None, picture: Pixels, tmp_path: Path) -> None:
    description = f"Aperio Image Library|AppMag = 40|MPP = {said}|x = 1"
    resolution = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", description=description, **resolution)
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == mpp
        told = "its resolution tag says 1 µm/px, its Aperio MPP 0.25, which is taken"
        assert (told in slide.notes) is (mpp is not None)
        assert len(slide.notes) == 1


def test_a_turned_slide_is_refused(picture: Pixels, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    with pytest.raises(ImageError, match="turned or mirrored"):
        open_slide(tmp_path / "a.tif")


def test_sizes_are_not_believed(picture: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, photometric="rgb", tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages.first.tags
        tags["ImageWidth"].overwrite(2_000_000_000)
    with pytest.raises(ImageError, match="2000000000 × 300 pixels, beyond any slide"):
        open_slide(path)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["ImageWidth"].overwrite(4210)
    with pytest.raises(ImageError, match=r"names 35 of its 330 tiles"):
        open_slide(path)


def test_uncompressed_planes_of_any_height(picture: Pixels, tmp_path: Path) -> None:
    """The planes of a file without tiles follow each other at once, whatever the rows that are read together."""
    planes = np.moveaxis(picture, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate", metadata=None)
    with open_slide(tmp_path / "a.tif") as slide:
        assert np.array_equal(whole(slide), picture)
        assert np.array_equal(slide.read(10, 250, 30, 40), picture[250:290, 10:40])


@pytest.mark.parametrize("unit", ["µm", "μm", "um", "\\u00B5m", "micron", "Microns", " micrometer "])
def test_spellings_of_micrometre(unit: str) -> None:
    assert micrometres(unit) == 1
