"""Slides of every format, written for tests."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate

from histoproto.data.images import write_image
from histoproto.slides.phantom import write_pyramid

Pixels = NDArray[np.uint8]


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
        tifffile.imwrite(path, picture, photometric="rgb", rowsperstrip=len(picture))
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
        opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
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
