"""Outlines as QuPath writes and reads them: GeoJSON in pixels of the slide's full resolution."""

from __future__ import annotations

import gzip as gzip_module
import json
import os
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import shapely
from numpy.typing import NDArray

from histoproto.errors import DataError
from histoproto.files import replace_atomically
from histoproto.slides.outlines import outlines, strip_rows
from histoproto.slides.raster import LabelRaster
from histoproto.slides.sieve import sieved_rows
from histoproto.tissue import TissueSet

MINIMUM_AREA_UM2 = 100.0
"""By default regions that are smaller than a cell are left out."""
_THREADS = max(1, min(4, (os.cpu_count() or 2) // 2))
_GZIP = b"\x1f\x8b"


def write_geojson(
    path: Path,
    raster: LabelRaster,
    tissues: TissueSet,
    downsample: float,
    mpp: float,
    origin: tuple[float, float] = (0, 0),
    min_area_um2: float = MINIMUM_AREA_UM2,
    tolerance_um: float | None = None,
    gzip: bool = False,
) -> int:
    """Write the outlines of all regions of tissue, each as a locked QuPath annotation with its class and colour.

    A speck of less than the minimum area belongs to the tissue (or background) it has most border with: a hole of that
    size is filled, a splinter of tissue on glass is left out.

    Args:
        path: of the file; by custom `.geojson`, or `.geojson.gz` with `gzip`.
        raster: label map, C is background.
        tissues: names and colours.
        downsample: pixels of level 0 per pixel of the raster.
        mpp: µm per pixel of the raster.
        origin: x and y of the raster's corner in pixels of level 0.
        min_area_um2: of the smallest region.
        tolerance_um: of simplification: side of a square of the size of the smallest triangle that is kept; 0: exact;
            None: a pixel of the raster, by which 99 % of the pixels keep their tissue.
        gzip: compress.

    Returns:
        The number of outlines.

    Raises:
        OutputError: the file cannot be written.
    """
    classes = [
        {"name": tissue.name, "color": colour}
        for tissue, colour in zip(tissues.tissues, tissues.rgb().tolist(), strict=False)
    ]
    smallest = min_area_um2 / mpp**2
    strips = sieved_rows(raster, int(np.ceil(smallest)), strip_rows(raster.width))
    tolerance = 1.0 if tolerance_um is None else tolerance_um / mpp
    count = 0
    with replace_atomically(path) as temporary, _open_to_write(temporary, gzip) as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for polygon, label in outlines(strips, tissues.background_index, tolerance, threads=_THREADS):
            if polygon.area < smallest * 0.5:  # a thread too long for the sieve; simplification alone never halves one
                continue
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


class Region(NamedTuple):
    """An annotation: its polygon or multipolygon, valid, and the name of its class."""

    geometry: shapely.Geometry
    classification: str | None


def read_geojson(path: Path) -> list[Region]:
    """Annotations from QuPath or from `write_geojson`: a FeatureCollection, a list, one feature or one geometry.

    Points and lines are left out, for they have no area. Polygons that cross themselves are mended.

    Raises:
        DataError: the file is missing, is not GeoJSON, or holds no area.
    """
    features = _features(_read_json(path), path)
    regions = []
    for feature in features:
        try:
            if feature["geometry"] is None:
                continue
            geometry = shapely.from_geojson(json.dumps(feature["geometry"]))
            area = _area_of(geometry)
            name = _class_name(feature.get("properties") or {})
        except (shapely.errors.GEOSException, AttributeError, TypeError, KeyError) as error:
            raise DataError(f"{path} holds a feature that is not GeoJSON: {_shortened(feature)}") from error
        if area is not None:
            regions.append(Region(area, name))
    if not regions:
        raise DataError(f"{path} holds no polygons, expected regions as QuPath exports them (File → Export objects)")
    return regions


def _read_json(path: Path) -> Any:
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP):
            content = gzip_module.decompress(content)
        return json.loads(content)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (EOFError, ValueError, RecursionError) as error:  # not UTF-8 and not JSON are ValueErrors, too
        raise DataError(f"{path} is not GeoJSON: {error}") from error


def _features(content: Any, path: Path) -> list[dict[str, Any]]:
    """The features of any of the forms."""
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise DataError(f"{path} is not GeoJSON: expected a FeatureCollection, a list of features, or a geometry")
    return [entry if entry.get("type") == "Feature" else {"geometry": entry} for entry in content]


def _area_of(geometry: shapely.Geometry) -> shapely.Geometry | None:
    """The polygons of a geometry, or None where there are none."""
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise TypeError("coordinates must be numbers")
    mended = geometry if geometry.is_valid else shapely.make_valid(geometry)
    parts = shapely.get_parts(shapely.get_parts([mended]))
    areas = parts[(shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)]
    if len(areas) == 0:
        return None
    return areas[0] if len(areas) == 1 else shapely.union_all(areas)


def _class_name(properties: dict[str, Any]) -> str | None:
    """`{"classification": {"name": …}}`, a derived class as `{"names": […]}`, or simply a text."""
    found = properties.get("classification")
    if isinstance(found, dict):
        found = found.get("name") or ": ".join(found.get("names", ()))
    return str(found) if found else None


def _shortened(feature: Any) -> str:
    text = json.dumps(feature)
    return text if len(text) <= 80 else f"{text[:80]} …"
