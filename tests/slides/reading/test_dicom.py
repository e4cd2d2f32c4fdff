from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from histoproto.errors import ImageError
from histoproto.slides.reading.dicom import DicomSlide
from histoproto.slides.reading.opening import open_slide
from slide_files import write_dicom

Pixels = NDArray[np.uint8]


def changed(path: Path, picture: Pixels, **values: object) -> Path:
    write_dicom(path, picture, mpp=0.5)
    with pydicom.dcmread(path) as file:
        for name, value in values.items():
            setattr(file, name, value)
        file.save_as(path)
    return path


def test_scale(picture: Pixels, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", picture, mpp=0.5)
    with open_slide(tmp_path / "a.dcm") as slide:
        assert (slide.mpp, slide.mpp_from) == (pytest.approx(0.5), "PixelSpacing")
    write_dicom(tmp_path / "a.dcm", picture)
    path = tmp_path / "a.dcm"
    with pydicom.dcmread(path) as file:
        file.ImagedVolumeWidth, file.ImagedVolumeHeight = picture.shape[1] * 0.002, picture.shape[0] * 0.002
        file.save_as(path)
    with open_slide(path) as slide:
        assert (slide.mpp, slide.mpp_from) == (pytest.approx(2), "ImagedVolumeWidth and Height")
    with pydicom.dcmread(path) as file:
        file.ImagedVolumeWidth = file.ImagedVolumeHeight = 15.0  # all that the scanner can see
        file.save_as(path)
    with open_slide(path) as slide:
        assert slide.mpp is None


def test_oblong_pixels_are_refused(picture: Pixels, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", picture, mpp=0.5)
    with pydicom.dcmread(tmp_path / "a.dcm") as file:
        file.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.001, 0.0005]
        file.save_as(tmp_path / "a.dcm")
    with pytest.raises(ImageError, match=r"pixels of 0\.5 × 1 µm \(PixelSpacing\)"):
        open_slide(tmp_path / "a.dcm")


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422", "YBR_FULL"])
def test_colours_are_those_of_the_jpeg(photometric: str, picture: Pixels, tmp_path: Path) -> None:
    """A JPEG with a JFIF marker holds YBR; real files say RGB of such."""
    with open_slide(changed(tmp_path / "a.dcm", picture, PhotometricInterpretation=photometric)) as slide:
        assert np.abs(slide.read(0, 0, slide.width, slide.height).astype(int) - picture).mean() < 3


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, "is the label picture of a slide"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"]}, "is the overview picture of a slide"),
        ({"ConcatenationUID": "1.2.3", "InConcatenationTotalNumber": 3}, "in 3 files .*, of which 1 are there: a.dcm"),
        ({"ConcatenationUID": "1.2.3", "InConcatenationNumber": 2}, "in 1 files .*, of which 1 are there: a.dcm"),
        ({"InConcatenationTotalNumber": 3}, "one of several files"),
        ({"TotalPixelMatrixFocalPlanes": 5}, "5 focal planes"),
        ({"NumberOfOpticalPaths": 3}, "3 optical paths"),
        ({"DimensionOrganizationType": "TILED_SPARSE"}, "TILED_SPARSE"),
        ({"DimensionOrganizationType": "3D"}, "an order that is not read"),
        ({"PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 3}, "says MONOCHROME2, but 3 values"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 4}, "says RGB, but 4 values"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR pixels of 8 bits"),
        ({"BitsStored": 12}, "of 12 bits"),
        ({"PixelRepresentation": 1}, "expected RGB, YBR or grey"),
        ({"TotalPixelMatrixColumns": 2**31 - 1}, "frames, expected"),
    ],
)
def test_what_is_no_slide_by_itself_is_refused(
    values: dict[str, object], sentence: str, picture: Pixels, tmp_path: Path
) -> None:
    with pytest.raises(ImageError, match=sentence):
        open_slide(changed(tmp_path / "a.dcm", picture, **values))


def test_monochrome(picture: Pixels, tmp_path: Path) -> None:
    grey = np.repeat(picture[..., :1], 3, axis=2)
    for kind, expected in (("MONOCHROME2", grey), ("MONOCHROME1", 255 - grey)):
        path = changed(tmp_path / "a.dcm", grey, PhotometricInterpretation=kind, SamplesPerPixel=1)
        with open_slide(path) as slide:
            assert np.abs(slide.read(0, 0, slide.width, slide.height).astype(int) - expected).mean() < 3


def stored(path: Path, picture: Pixels, syntax: pydicom.uid.UID, **values: object) -> Path:
    """The slide with frames that are stored otherwise."""
    write_dicom(path, picture, mpp=0.5)
    with pydicom.dcmread(path) as file:
        (high, wide), (height, width) = (file.Rows, file.Columns), picture.shape[:2]
        padded = np.pad(picture, ((0, -height % high), (0, -width % wide), (0, 0)), mode="edge")
        frames = [
            np.ascontiguousarray(padded[top : top + high, left : left + wide])
            for top in range(0, padded.shape[0], high)
            for left in range(0, padded.shape[1], wide)
        ]
        file.file_meta.TransferSyntaxUID = syntax
        file.PhotometricInterpretation, file.DimensionOrganizationType = "RGB", "TILED_FULL"
        for name, value in values.items():
            setattr(file, name, value)
        if syntax.is_compressed:
            file.PixelData = pydicom.encaps.encapsulate([imagecodecs.jpegls_encode(frame) for frame in frames])
        else:
            planar = values.get("PlanarConfiguration") == 1
            file.PixelData = b"".join((np.moveaxis(f, 2, 0) if planar else f).tobytes() for f in frames)
            file["PixelData"].is_undefined_length = False
            file["PixelData"].VR = "OB"
        file.save_as(path)
    return path


@pytest.mark.parametrize("planar", [0, 1])
def test_plain_frames(planar: int, picture: Pixels, tmp_path: Path) -> None:
    path = stored(tmp_path / "a.dcm", picture, pydicom.uid.ExplicitVRLittleEndian, PlanarConfiguration=planar)
    with DicomSlide(path) as slide:
        assert (slide.read(0, 0, slide.width, slide.height) == picture).all()
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ImageError, match=r"a\.dcm"), DicomSlide(path) as slide:
        slide.read(0, 0, slide.width, slide.height)


def test_jpeg_ls(picture: Pixels, tmp_path: Path) -> None:
    path = stored(tmp_path / "a.dcm", picture, pydicom.uid.JPEGLSLossless, PlanarConfiguration=0)
    with DicomSlide(path) as slide:
        assert (slide.read(0, 0, slide.width, slide.height) == picture).all()


def test_other_ways_to_store_are_named(picture: Pixels, tmp_path: Path) -> None:
    path = stored(tmp_path / "a.dcm", picture, pydicom.uid.JPEGLSLossless)
    with pydicom.dcmread(path) as file:
        file.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
        file.save_as(path)
    with pytest.raises(ImageError, match="RLE Lossless; expected JPEG"):
        open_slide(path)
    ybr = stored(tmp_path / "b.dcm", picture, pydicom.uid.JPEGLSLossless, PhotometricInterpretation="YBR_FULL")
    with pytest.raises(ImageError, match="YBR pixels as JPEG-LS"):
        DicomSlide(ybr)
