"""Outlines as QuPath reads them: GeoJSON in pixels of the slide's full resolution."""

from __future__ import annotations

import gzip as gzip_module
import json
import os
from pathlib import Path
from typing import TextIO

import numpy as np
import shapely
from numpy.typing import NDArray

from histoproto.files import replace_atomically
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.outlines.tracing import outlines, strip_rows
from histoproto.tissue import UNCERTAIN, TissueSet

_THREADS = max(1, min(4, (os.cpu_count() or 2) // 2))


def write_geojson(
    path: Path,
    raster: LabelRaster,
    tissues: TissueSet,
    downsample: float,
    mpp: float,
    origin: tuple[float, float] = (0, 0),
    tolerance_um: float | None = None,
    gzip: bool = False,
) -> int:
    """Write the outlines of all regions of tissue, each as a locked QuPath annotation with its class and colour.

    Args:
        path: of the file; by custom `.geojson`, or `.geojson.gz` with `gzip`.
        raster: label map, C is background.
        tissues: names and colours.
        downsample: pixels of level 0 per pixel of the raster.
        mpp: µm per pixel of the raster.
        origin: x and y of the raster's corner in pixels of level 0.
        tolerance_um: of simplification: side of a square of the size of the smallest triangle that is kept; 0: exact;
            None: a pixel of the raster, by which 99 % of the pixels keep their tissue.
        gzip: compress.

    Returns:
        The number of outlines.

    Raises:
        OutputError: the file cannot be written.
    """
    classes = [
        {"name": name, "color": colour}
        for name, colour in zip((*tissues.names, "background", UNCERTAIN), tissues.palette().tolist(), strict=True)
    ]
    strips = raster.rows(strip_rows(raster.width))
    tolerance = 1.0 if tolerance_um is None else tolerance_um / mpp
    count = 0
    with replace_atomically(path) as temporary, _open_to_write(temporary, gzip) as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for polygon, label in outlines(strips, tissues.background_index, tolerance, threads=_THREADS):
            properties = {"objectType": "annotation", "classification": classes[label], "isLocked": True}
            file.write(
                f'{"," if count else ""}\n{{"type": "Feature", "geometry": {_geometry(polygon, downsample, origin)}, '
                f'"properties": {json.dumps(properties, ensure_ascii=False)}}}'
            )
            count += 1
        file.write("\n]}\n")
    return count


def _open_to_write(path: Path, gzip: bool) -> TextIO:
    if gzip:
        return gzip_module.open(path, "wt", encoding="utf-8", compresslevel=6)
    return path.open("w", encoding="utf-8")


def _geometry(polygon: shapely.Polygon, downsample: float, origin: tuple[float, float]) -> str:
    def to_level_0(corners: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.round(corners * downsample + origin, 2)

    text: str = shapely.to_geojson(shapely.transform(polygon, to_level_0))
    return text
