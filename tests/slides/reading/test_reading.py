from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import openslide
import pydicom
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from scipy.ndimage import zoom

from histoproto.data.images import write_image
from histoproto.errors import DataError, ImageError
from histoproto.slides.phantom import write_phantom_slide, write_pyramid
from histoproto.slides.reading import protocol as module
from histoproto.slides.reading.mosaic import TileCache, cut_from_tiles
from histoproto.slides.reading.opening import open_slide, require_mpp
from histoproto.slides.reading.protocol import SlideReader
from places import REAL

Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 300, 421
SLIDES = REAL / "slides"


@pytest.fixture(scope="module")
def picture() -> Pixels:
    """Smooth, so that it survives JPEG, and different everywhere."""
    knots = np.random.default_rng(0).uniform(0, 255, (7, 9, 3))
    return zoom(knots, (HEIGHT / 7, WIDTH / 9, 1), order=1).astype(np.uint8)


def write_dicom(path: Path, picture: Pixels, by_column: bool = False, mpp: float | None = None) -> None:
    """A whole slide without the attributes that OpenSlide and wsidicom ask for."""
    tile = 128
    padded = np.pad(picture, ((0, -picture.shape[0] % tile), (0, -picture.shape[1] % tile), (0, 0)))
    cut = padded.reshape(-1, tile, padded.shape[1] // tile, tile, 3).transpose(
        *(2, 0, 1, 3, 4) if by_column else (0, 2, 1, 3, 4)
    )
    frames = []
    for frame in cut.reshape(-1, tile, tile, 3):
        Image.fromarray(frame).save(data := BytesIO(), "JPEG", quality=95)
        frames.append(data.getvalue())
    content = pydicom.Dataset()
    content.Rows = content.Columns = tile
    content.TotalPixelMatrixRows, content.TotalPixelMatrixColumns = picture.shape[:2]
    content.NumberOfFrames = len(frames)
    if mpp is not None:
        measures, groups = pydicom.Dataset(), pydicom.Dataset()
        measures.PixelSpacing = [mpp / 1000, mpp / 1000]
        groups.PixelMeasuresSequence = [measures]
        content.SharedFunctionalGroupsSequence = [groups]
    content.PixelData = encapsulate(frames)
    content["PixelData"].VR = "OB"
    content["PixelData"].is_undefined_length = True
    content.file_meta = pydicom.dataset.FileMetaDataset()
    content.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    content.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    content.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    content.save_as(path, enforce_file_format=True)


def write(kind: str, folder: Path, picture: Pixels) -> Path:
    path = folder / f"{kind}.tif"
    tiled = {"tile": (64, 64), "photometric": "rgb", "metadata": None}
    if kind == "png":
        write_image(path := path.with_suffix(".png"), picture)
    elif kind == "jpeg":
        Image.fromarray(picture).save(path := path.with_suffix(".jpg"), quality=98)
    elif kind == "dicom":
        write_dicom(path := path.with_suffix(".dcm"), picture)
    elif kind == "dicom by column":
        write_dicom(path := path.with_suffix(".dcm"), picture, by_column=True)
    elif kind == "one strip":
        tifffile.imwrite(path, picture, photometric="rgb", rowsperstrip=HEIGHT)
    elif kind == "big-endian":
        tifffile.imwrite(path, picture.astype(np.uint16) * 257, photometric="rgb", byteorder=">")
    elif kind == "strips":
        tifffile.imwrite(path, picture, photometric="rgb", rowsperstrip=7, compression="zlib", predictor=2)
    elif kind == "tiled":
        tifffile.imwrite(path, picture, **tiled, compression="lzw")
    elif kind == "bigtiff":
        tifffile.imwrite(path, picture, **tiled, compression="jpeg", compressionargs={"level": 98}, bigtiff=True)
    elif kind == "planar":
        tifffile.imwrite(path, np.moveaxis(picture, 2, 0), **{**tiled, "planarconfig": "separate"}, compression="zlib")
    elif kind == "alpha":
        opaque = np.dstack([picture, np.full((HEIGHT, WIDTH), 255, np.uint8)])
        tifffile.imwrite(path, opaque, **tiled, extrasamples=["unassalpha"])
    elif kind == "ome":
        tifffile.imwrite(path.with_suffix(".ome.tif"), picture, ome=True, photometric="rgb", tile=(64, 64))
        path = path.with_suffix(".ome.tif")
    elif kind == "ome of three planes":
        planes = np.moveaxis(picture, 2, 0)
        tifffile.imwrite(path, planes, ome=True, photometric="minisblack", metadata={"axes": "CYX"})
    elif kind == "pyramid":
        write_pyramid(path, iter([picture[:256], picture[256:]]), picture.shape[:2], 0.5)
    return path


KINDS = ["png", "jpeg", "dicom", "dicom by column", "one strip", "big-endian", "strips", "tiled", "bigtiff", "planar"]
KINDS += ["alpha", "ome", "ome of three planes", "pyramid"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_pixels(kind: str, picture: Pixels, tmp_path: Path) -> None:
    with open_slide(write(kind, tmp_path, picture)) as slide:
        assert (slide.width, slide.height) == (WIDTH, HEIGHT)
        assert slide.levels[0].downsample == 1
        lossy = kind in ("jpeg", "dicom", "dicom by column", "bigtiff", "pyramid")
        for left, top, width, height in ((0, 0, WIDTH, HEIGHT), (60, 130, 70, 10), (WIDTH - 1, HEIGHT - 1, 1, 1)):
            read = slide.read(left, top, width, height)
            assert read.dtype == np.uint8
            assert read.shape == (height, width, 3)
            apart = np.abs(read - picture[top : top + height, left : left + width].astype(int))
            assert apart.mean() <= (3 if lossy else 0) or (lossy and apart.size == 3), (left, top)


def test_outside_is_white(picture: Pixels, tmp_path: Path) -> None:
    with open_slide(write("tiled", tmp_path, picture)) as slide:
        for downsample in (1.0, 2.0, 0.5, 3.7):
            size = round(100 / downsample)
            corner = slide.read(WIDTH - 50, HEIGHT - 50, size, size, downsample)
            inside = corner[: size // 2, : size // 2].astype(int)
            assert (corner[-(size // 2) + 1 :] == 255).all(), downsample
            assert (corner[:, -(size // 2) + 1 :] == 255).all(), downsample
            block = picture[-50:, -50:].reshape(-1, 3).mean(axis=0)
            np.testing.assert_allclose(inside.reshape(-1, 3).mean(axis=0), block, atol=8)  # no white mixed in
            assert (slide.read(-900, 40, 10, 10, downsample) == 255).all()
            assert (slide.read(40, 5000, 10, 10, downsample) == 255).all()


def test_pixels_that_fall_together_are_averaged(picture: Pixels, tmp_path: Path) -> None:
    with open_slide(write("tiled", tmp_path, picture)) as slide:
        read = slide.read(8, 12, 50, 30, 4.0)
        expected = picture[12:132, 8:208].reshape(30, 4, 50, 4, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(read, expected, atol=1)
        finer = slide.read(8, 12, 100, 60, 0.5)
        np.testing.assert_allclose(finer.reshape(30, 2, 50, 2, 3).mean(axis=(1, 3)), picture[12:42, 8:58], atol=4)


def test_parts_fit_together(picture: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles are read one by one: what is read does not depend on where they begin, nor on the size of a read."""
    with open_slide(write("tiled", tmp_path, picture)) as slide:
        for downsample in (1.0, 1.5, 0.8, 2.0):
            whole = slide.read(3, 5, 100, 90, downsample)
            right = slide.read(3 + 40 * downsample, 5 + 30 * downsample, 60, 60, downsample)
            assert np.abs(whole[30:, 40:].astype(int) - right).max() <= 1, downsample
            with monkeypatch.context() as patch:
                patch.setattr(module, "PIXELS_AT_ONCE", 500)
                assert np.abs(slide.read(3, 5, 100, 90, downsample).astype(int) - whole).max() <= 1


def test_the_nearest_finer_level_is_read(picture: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pyramid.tif"
    write_phantom_slide(path, tmp_path / "mask.tif", width=1500, height=1100, field=16, distinct=2, mpp=0.5)
    with open_slide(path) as slide:
        assert [(level.width, level.height) for level in slide.levels] == [(1500, 1100), (375, 275)]
        used = []
        original = type(slide).read_level

        def read_level(self: SlideReader, level: int, *place: int) -> Pixels:
            used.append(level)
            return original(self, level, *place)

        monkeypatch.setattr(type(slide), "read_level", read_level)
        reads = [slide.read(0, 0, 10, 10, downsample) for downsample in (0.5, 1.0, 3.9, 4.0, 9.0)]
        assert used == [0, 0, 0, 1, 1]
        np.testing.assert_allclose(reads[2].mean(), reads[3].mean(), atol=6)
        assert require_mpp(slide) == pytest.approx(0.5)
        thumbnail, downsample = slide.thumbnail(300)
        assert thumbnail.shape == (220, 300, 3)
        assert downsample == 5
    assert openslide.OpenSlide(path).level_dimensions == ((1500, 1100), (375, 275))
    assert tifffile.imread(tmp_path / "mask.tif").shape == (1100, 1500)


def test_scales_that_files_state(picture: Pixels, tmp_path: Path) -> None:
    def stated(mpp: float | None = None, **options: object) -> float | None:
        tifffile.imwrite(tmp_path / "x.ome.tif", picture, photometric="rgb", **options)
        with open_slide(tmp_path / "x.ome.tif", mpp) as slide:
            return slide.mpp

    ome = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    assert stated(metadata=ome) == 0.25
    assert stated(metadata={**ome, "PhysicalSizeXUnit": "mm", "PhysicalSizeYUnit": "mm"}) is None  # 250 µm/px
    assert stated(metadata={"PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 500}) == pytest.approx(
        0.5
    )
    assert stated(ome=False, resolution=(20000, 20000), resolutionunit="CENTIMETER") == pytest.approx(0.5)
    assert stated(ome=False, resolution=(72, 72), resolutionunit="INCH") is None  # that of a screen
    assert stated(ome=False) is None
    assert stated(0.3, metadata=ome) == 0.3
    write_dicom(tmp_path / "x.dcm", picture, mpp=0.5)
    with open_slide(tmp_path / "x.dcm") as slide:
        assert slide.mpp == pytest.approx(0.5)
    write_image(tmp_path / "x.png", picture)
    with open_slide(tmp_path / "x.png") as slide, pytest.raises(DataError, match=r"x\.png does not say .* --mpp"):
        require_mpp(slide)
    with pytest.raises(DataError, match="µm/px of a slide must be"):
        open_slide(tmp_path / "x.png", mpp=0)


class BoundedSlide:
    """An MRXS: a canvas of 1000 × 800, of which 400 × 300 at (90, 50) were scanned; its pixels tell where they are."""

    dimensions = (1000, 800)
    level_dimensions = ((1000, 800), (500, 400))
    level_downsamples = (1.0, 2.0)
    properties: dict[str, str] = {  # noqa: RUF012
        "openslide.bounds-x": "90",
        "openslide.bounds-y": "50",
        "openslide.bounds-width": "400",
        "openslide.bounds-height": "300",
        "openslide.mpp-x": "0.2",
        "openslide.mpp-y": "0.3",
        "openslide.background-color": "0000ff",
    }

    def __init__(self, path: Path) -> None:
        pass

    def read_region(self, corner: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        rows, columns = np.mgrid[: size[1], : size[0]] * 2**level
        x, y = columns + corner[0], rows + corner[1]
        scanned = (x >= 100) & (x < 490) & (y >= 50) & (y < 350)  # the first ten columns of the bounds are missing
        return Image.fromarray(np.stack([x // 4, y // 4, 0 * x, 255 * scanned], axis=2).astype(np.uint8), "RGBA")

    def close(self) -> None:
        pass


def test_positions_count_from_the_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openslide, "OpenSlide", BoundedSlide)
    from histoproto.slides.reading.openslide import OpenSlideSlide

    slide = OpenSlideSlide(tmp_path)
    assert (slide.width, slide.height, slide.origin, slide.mpp) == (400, 300, (90, 50), 0.25)
    assert [(level.width, level.height) for level in slide.levels] == [(400, 300), (200, 150)]
    assert slide.read(30, 70, 1, 1)[0, 0].tolist() == [30, 30, 0]
    assert slide.read(30, 70, 1, 1, 2.0)[0, 0].tolist() == [30, 30, 0]
    assert slide.read(0, 0, 5, 5)[2, 2].tolist() == [0, 0, 255]  # never scanned: the colour that the file names
    assert (slide.read(395, 295, 20, 20)[5:, 5:] == 255).all()


def test_wrong_files_are_sentences(picture: Pixels, tmp_path: Path) -> None:
    def refused(name: str, sentence: str, content: bytes | None = None) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=sentence), open_slide(tmp_path / name) as slide:
            slide.read(0, 0, slide.width, slide.height)

    refused("none.svs", "there is no slide")
    refused("empty.svs", "is empty", b"")
    refused("text.svs", "is not an image", b"hello")
    refused("text.tif", "cannot be opened", b"II*\0hello")
    refused("text.dcm", "cannot be opened", b"\0" * 128 + b"DICMhello")
    whole = write("tiled", tmp_path, picture).read_bytes()
    refused("half.tif", "cannot be opened|ends in the middle|cannot be read", whole[: len(whole) // 2])
    strips = write("one strip", tmp_path, picture).read_bytes()
    refused("half strip.tif", "ends in the middle|cannot be opened", strips[: len(strips) // 2])
    for kind in ("png", "jpeg", "dicom"):
        path = write(kind, tmp_path, picture)
        whole = path.read_bytes()
        refused(f"half{path.suffix}", "cannot be", whole[: len(whole) // 2])
    tifffile.imwrite(tmp_path / "float.tif", picture.astype(np.float32))
    refused("float.tif", "expected RGB or grey")
    tifffile.imwrite(tmp_path / "many.tif", np.zeros((5, 64, 64), np.uint8), metadata={"axes": "CYX"}, ome=True)
    refused("many.tif", "expected one RGB or grey image")


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


def test_tiles_are_decoded_once() -> None:
    decoded: list[tuple[int, int]] = []
    image = np.random.default_rng(0).integers(0, 255, (90, 70, 3), dtype=np.uint8)
    cache = TileCache(size=6 * 32 * 32 * 3)

    def tile(row: int, column: int) -> Pixels:
        def decode() -> Pixels:
            decoded.append((row, column))
            return image[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]

        return cache.get((row, column), decode)

    assert np.array_equal(cut_from_tiles(tile, (32, 32), 0, 0, 70, 64), image[:64])
    assert np.array_equal(cut_from_tiles(tile, (32, 32), 40, 10, 20, 50), image[10:60, 40:60])
    assert len(decoded) == 6
    cut_from_tiles(tile, (32, 32), 0, 64, 70, 26)
    assert len(decoded) == 9
    cut_from_tiles(tile, (32, 32), 0, 64, 70, 26)
    assert len(decoded) == 9
    cut_from_tiles(tile, (32, 32), 0, 0, 1, 1)  # long out of the cache
    assert len(decoded) == 10


@pytest.mark.skipif(not SLIDES.is_dir(), reason="the real slides are not here")
@pytest.mark.parametrize(
    ("name", "reader", "size", "mpp"),
    [
        ("cmu-1-small-region.svs", "OpenSlideSlide", (2220, 2967), 0.499),
        ("tcga-cr-7395-01a-01-ts1.svs", "OpenSlideSlide", (4443, 3567), None),
        ("small_dicom.dcm", "DicomSlide", (3236, 2638), None),
    ],
)
def test_real_slides(name: str, reader: str, size: tuple[int, int], mpp: float | None) -> None:
    with open_slide(SLIDES / name) as slide:
        assert type(slide).__name__ == reader
        assert (slide.width, slide.height) == size
        assert slide.mpp == mpp
        thumbnail, _ = slide.thumbnail(200)
        assert 100 < thumbnail.mean() < 250
