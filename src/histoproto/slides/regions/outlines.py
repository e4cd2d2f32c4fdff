"""Areas from the geometries of GeoJSON: all of a file's polygons at once, as shapely keeps them.

What a person outlined is inside: an outline that runs over itself encloses what it goes around at all (the non-zero
rule), and parts of a multipolygon that overlap are one. Only inner rings are holes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

FARTHEST = 1e9
"""Coordinates beyond are no pixels of a slide."""
_WITHOUT_AREA = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString"})


class Outlines:
    """Polygons by the number of the feature that they belong to, collected one by one and built together."""

    def __init__(self) -> None:
        self._rings: list[NDArray[np.float64]] = []
        self._polygon_of_ring: list[int] = []
        self._feature_of_polygon: list[int] = []

    def add(self, feature: int, geometry: Any) -> None:
        """Add all polygons of a geometry to a feature; features come in ascending order.

        Raises:
            ValueError: it is none of GeoJSON's; the text says why, as the end of "its geometry …".
        """
        for polygon in _polygons(geometry):
            rings = [_ring(ring) for ring in polygon]
            if not rings or len(rings[0]) < 4:
                continue  # an outline of less than three corners holds nothing
            self._feature_of_polygon.append(feature)
            number = len(self._feature_of_polygon) - 1
            whole = [ring for ring in rings if len(ring) >= 4]
            self._rings += whole
            self._polygon_of_ring += [number] * len(whole)

    def build(self) -> tuple[list[int], NDArray[np.object_]]:
        """The features that hold any area, ascending, and of each a valid polygon or multipolygon."""
        if not self._rings:
            return [], np.empty(0, dtype=object)
        lengths = [len(ring) for ring in self._rings]
        rings = shapely.linearrings(np.concatenate(self._rings), indices=np.repeat(np.arange(len(lengths)), lengths))
        polygons = shapely.polygons(rings, indices=np.array(self._polygon_of_ring))
        features, first, count = np.unique(self._feature_of_polygon, return_index=True, return_counts=True)
        areas = polygons[first]
        for index in np.flatnonzero(count > 1):
            areas[index] = shapely.multipolygons(polygons[first[index] : first[index] + count[index]])
        for index in np.flatnonzero(~shapely.is_valid(areas)):
            areas[index] = _mended(areas[index])
        some = shapely.area(areas) > 0
        return features[some].tolist(), areas[some]


def _mended(area: shapely.Geometry) -> shapely.Geometry:
    """The valid area of polygons: what their outlines enclose, without what their holes do, wherever these lie."""
    found = []
    for polygon in shapely.get_parts(area):
        outline, holes = (
            shapely.make_valid(shapely.polygons(rings), method="structure", keep_collapsed=False)
            for rings in (shapely.get_exterior_ring(polygon), shapely.get_rings(polygon)[1:])
        )
        found.append(shapely.difference(outline, shapely.union_all(holes)))
    return shapely.union_all(found)


def _polygons(geometry: Any) -> Iterator[list[Any]]:
    """The polygons of a geometry, as lists of rings; points and lines have none."""
    if not isinstance(geometry, dict):
        raise ValueError(f"is a {type(geometry).__name__}, expected an object with type and coordinates")
    kind = geometry.get("type")
    if kind in _WITHOUT_AREA:
        return
    if kind == "GeometryCollection":
        for part in _list(geometry.get("geometries"), "geometries"):
            yield from _polygons(part)
    elif kind == "Polygon":
        yield _list(geometry.get("coordinates"), "rings")
    elif kind == "MultiPolygon":
        for polygon in _list(geometry.get("coordinates"), "polygons"):
            yield _list(polygon, "rings")
    else:
        raise ValueError(f"has the type {kind!r}, which GeoJSON does not know")


def _ring(points: Any) -> NDArray[np.float64]:
    """A closed ring, N×2."""
    try:
        ring = np.asarray(_list(points, "points"))
    except (ValueError, OverflowError):  # points of different lengths, or numbers that are none
        ring = np.empty(0, dtype=object)
    if not len(ring) and not points:
        return np.empty((0, 2))
    if ring.ndim != 2 or ring.shape[1] < 2 or ring.dtype.kind not in "if":
        raise ValueError("has a ring that is no list of points, each with the numbers x and y")
    corners = ring[:, :2].astype(np.float64)  # a third number is the height
    if not (np.abs(corners) <= FARTHEST).all():
        raise ValueError("has coordinates that are not finite, or beyond any slide")
    if (corners[0] != corners[-1]).any():
        corners = np.concatenate([corners, corners[:1]])
    return corners


def _list(found: Any, what: str) -> list[Any]:
    if not isinstance(found, list):
        raise ValueError(f"has no list of {what}")
    return found
