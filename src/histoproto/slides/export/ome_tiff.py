"""The label map as a pyramid that viewers open: OME-TIFF with a palette."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from histoproto.files import replace_atomically
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.tissue import UNCERTAIN, TissueSet

TILE = 512
_BUFFER = 1 << 24
_LEVEL = 6  # of compression
_LABELS = "Labels: "
SAME_MPP = 1e-3
"""Relative difference of two µm/px that are the same but for rounding."""


def write_ome_tiff(path: Path, raster: LabelRaster, tissues: TissueSet, mpp: float | None) -> None:
    """Write a label map as a tiled, compressed OME-TIFF with half, a quarter … of its size as sub-images.

    Its values are indices of tissues, then background and uncertain places; its palette has their colours.
    Smaller levels take the middle pixel, for labels have no mean. Memory is that of a row of tiles.

    Args:
        path: of the file, by custom `.ome.tif`.
        raster: label map, C is background.
        tissues: names (written into the description) and colours.
        mpp: µm per pixel of the raster, if known.

    Raises:
        OutputError: the file cannot be written, or the disk is full.
    """
    factors = [1]
    while max(raster.shape) > TILE * factors[-1]:
        factors.append(2 * factors[-1])
    palette = np.zeros((3, 256), np.uint16)
    palette[:, : len(tissues) + 2] = tissues.palette().T.astype(np.uint16) * 257
    options: dict[str, Any] = {
        "dtype": np.uint8,
        "tile": (TILE, TILE),
        "photometric": "palette",
        "colormap": palette,
        "compression": "adobe_deflate",  # the one that every reader of TIFF knows
        "compressionargs": {"level": _LEVEL},
        "buffersize": _BUFFER,
    }
    with replace_atomically(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=True, ome=True) as writer:
        for factor in factors:
            first = factor == 1
            writer.write(
                _tiles(raster, factor, tissues.background_index),
                shape=(-(-raster.height // factor), -(-raster.width // factor)),
                subifds=len(factors) - 1 if first else None,
                subfiletype=0 if first else 1,
                metadata=_metadata(tissues, mpp) if first else None,
                resolution=None if mpp is None else (1e4 / (mpp * factor),) * 2,
                resolutionunit=None if mpp is None else "CENTIMETER",
                **options,
            )


def _tiles(raster: LabelRaster, factor: int, background: int) -> Iterator[NDArray[np.uint8]]:
    """The tiles of a level from left to right, top to bottom, the last ones filled up with background."""
    rows = np.minimum(np.arange(0, raster.height, factor) + factor // 2, raster.height - 1)
    columns = np.minimum(np.arange(0, raster.width, factor) + factor // 2, raster.width - 1)
    for top in range(0, len(rows), TILE):
        places = rows[top : top + TILE]
        if factor == 1:
            strip = raster.read(top, 0, len(places), raster.width)
        else:
            strip = np.concatenate([raster.read(int(y), 0, 1, raster.width)[:, columns] for y in places])
        for left in range(0, strip.shape[1], TILE):
            part = strip[:, left : left + TILE]
            tile = np.full((TILE, TILE), background, np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def may_be_of(ome: str | None, tissues: Sequence[str], mpp: float) -> bool:
    """Whether a map with this OME-XML can be of these tissues and µm/px; one that does not say so can."""
    try:
        root = ElementTree.fromstring(ome or "")
    except ElementTree.ParseError:
        return True
    said = [element.text or "" for element in root.iterfind("{*}Image/{*}Description")]
    sizes = [float(pixels.get("PhysicalSizeX", mpp)) for pixels in root.iterfind("{*}Image/{*}Pixels")]
    names, expected = [text for text in said if text.startswith(_LABELS)], _labels((*tissues, "background"))
    return all(abs(size / mpp - 1) < SAME_MPP for size in sizes) and all(text.startswith(expected) for text in names)


def _labels(names: Sequence[str]) -> str:
    return _LABELS + ", ".join(f"{index} {name}" for index, name in enumerate(names))


def _metadata(tissues: TissueSet, mpp: float | None) -> dict[str, Any]:
    labels = _labels((*tissues.names, "background", UNCERTAIN))
    # Without one, tifffile makes a number that tells the address of this machine's network card.
    number = f"urn:uuid:{uuid.uuid4()}"
    metadata: dict[str, Any] = {"axes": "YX", "Name": "tissue", "Description": labels, "UUID": number}
    if mpp is not None:
        for side in "XY":
            metadata[f"PhysicalSize{side}"], metadata[f"PhysicalSize{side}Unit"] = mpp, "µm"
    return metadata
