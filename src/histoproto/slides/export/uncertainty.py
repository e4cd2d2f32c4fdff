"""Doubt and strangeness as layers: an OME-Zarr and an OME-TIFF, on the grid of the finest activation map."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from histoproto.files import replace_atomically
from histoproto.slides.export.probabilities import CHUNK, ProbabilityWriter
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.labelling.trust import Trust
from histoproto.tissue import Tissue, TissueSet

ZARR_FILE, TIFF_FILE = "uncertainty.zarr", "uncertainty.ome.tif"
TILE = 512
UNITS = {
    "doubt": "0 to 255 for 0 to 1: one minus the calibrated chance of the tissue; 0 where nothing was looked at",
    "strangeness": "hundredths of the limit: above 100 unlike the training patches, 255 for 2.55 or more; 0 where "
    "nothing was looked at",
}
"""Of the channels, in their order; the second is there if the run knows its training patches."""
CHANNELS = (Tissue("doubt", "#8856a7", 0), Tissue("strangeness", "#e6550d", 1))


def write_uncertainty(folder: Path, trust: Trust, cell_mpp: float) -> None:
    """Write `uncertainty.zarr` and `uncertainty.ome.tif`, one or two uint8 channels (`UNITS`).

    Args:
        folder: to write into.
        trust: of a slide.
        cell_mpp: µm along the side of a cell.

    Raises:
        SettingError: zarr is not installed.
        OutputError: the files cannot be written.
    """
    layers = [trust.doubt, *([trust.strange] if trust.strange else [])]
    units = dict(list(UNITS.items())[: len(layers)])
    channels = TissueSet(CHANNELS[: len(layers)], len(layers))
    height, width = trust.doubt.shape
    with ProbabilityWriter(folder / ZARR_FILE, channels, height, width, cell_mpp, {"units": units}) as writer:
        for top in range(0, height, CHUNK):
            rows = min(CHUNK, height - top)
            writer.write(top, np.stack([layer.read(top, 0, rows, width) for layer in layers]) / 255)
    metadata = {
        "axes": "CYX",
        "Name": "uncertainty",
        "Description": "; ".join(f"{name}: {unit}" for name, unit in units.items()),
        "Channel": {"Name": [*units]},
        "UUID": f"urn:uuid:{uuid.uuid4()}",  # tifffile's own tells the address of this machine's network card
        **{f"PhysicalSize{side}": cell_mpp for side in "XY"},
        **{f"PhysicalSize{side}Unit": "µm" for side in "XY"},
    }
    with replace_atomically(folder / TIFF_FILE) as temporary, tifffile.TiffWriter(temporary, ome=True) as tiff:
        tiff.write(
            _tiles(layers),
            shape=(len(layers), height, width),
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="minisblack",
            compression="adobe_deflate",
            resolution=(1e4 / cell_mpp,) * 2,
            resolutionunit="CENTIMETER",
            metadata=metadata,
        )


def _tiles(layers: list[LabelRaster]) -> Iterator[NDArray[np.uint8]]:
    """Tiles of each layer from left to right, top to bottom, filled up with 0; a row of them is in memory."""
    for layer in layers:
        for top in range(0, layer.height, TILE):
            strip = layer.read(top, 0, min(TILE, layer.height - top), layer.width)
            for left in range(0, layer.width, TILE):
                part = strip[:, left : left + TILE]
                tile = np.zeros((TILE, TILE), np.uint8)
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile
