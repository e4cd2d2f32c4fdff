"""Annotations as QuPath writes them: GeoJSON in pixels of the slide's full resolution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely

from histoproto.documents.json_file import read_json
from histoproto.errors import DataError

MOST = 512 << 20
"""Bytes of a file, unpacked: about 300,000 cells of a QuPath project."""


class Region(NamedTuple):
    """An annotation: its polygon or multipolygon, valid, and the name of its class."""

    geometry: shapely.Geometry
    classification: str | None


def read_geojson(path: Path) -> list[Region]:
    """Annotations from QuPath or from `write_geojson`: a FeatureCollection, a list, one feature or one geometry.

    Points and lines are left out, for they have no area. Polygons that cross themselves are mended.

    Raises:
        DocumentError: the file is missing or no JSON.
        DataError: it is not GeoJSON, or holds no area.
    """
    features = _features(read_json(path, MOST, unpack=True), path)
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
