"""Annotations as QuPath writes them: GeoJSON in pixels of the slide's full resolution."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import shapely

from histoproto.documents.json_file import collection_paused, read_json
from histoproto.documents.names import check_text
from histoproto.errors import DataError, SettingError
from histoproto.slides.regions.classes import SEPARATOR
from histoproto.slides.regions.outlines import Outlines

MOST = 512 << 20
"""Bytes of a file, unpacked: about 300,000 cells of a QuPath project."""
_ANNOTATION = "annotation"
_OBJECTS = {"annotation": "annotations", "detection": "detections", "cell": "cells", "tile": "tiles"} | {
    "tmacore": "TMA cores",
    "root": "whole images",
}
"""QuPath's kinds of objects, and what many of them are called."""


class Region(NamedTuple):
    """An annotation: its polygon or multipolygon, valid, and the name of its class."""

    geometry: shapely.Geometry
    classification: str | None


@dataclass(frozen=True)
class Annotations:
    """What a person drew on a slide.

    Attributes:
        regions: annotations with an area, in the order of the file.
        notes: what of the file was left out or taken otherwise than written, in words that end a sentence.
    """

    regions: list[Region]
    notes: tuple[str, ...] = ()


class _Unreadable(Exception):
    """Why a feature is none; becomes the end of a sentence."""


def read_geojson(path: Path) -> list[Region]:
    """The regions of `read_annotations`."""
    return read_annotations(path).regions


def read_annotations(path: Path) -> Annotations:
    """Annotations from QuPath or from `write_geojson`: a FeatureCollection, a list, one feature or one geometry.

    Only annotations of the first plane count, not cells, detections, tiles and cores of a tissue array (`objectType`),
    which an export of all objects holds, too. Points and lines are left out, for they have no area. Polygons that cross
    themselves are mended (`histoproto.slides.regions.outlines`).

    Raises:
        DocumentError: the file is missing or no JSON.
        DataError: it is not GeoJSON, or holds no area.
    """
    with collection_paused():
        # Among QuPath's measurements, NaN is common.
        content = read_json(path, MOST, unpack=True, lenient=True)
        found = _annotations(_features(content, path), path)
    if isinstance(content, dict) and content.get("crs"):
        return replace(found, notes=(*found.notes, "its coordinate system (crs) is not read: pixels are expected"))
    return found


def _annotations(features: list[dict[str, Any]], path: Path) -> Annotations:
    outlines, names, left_out = Outlines(), {}, Counter[str]()
    for number, feature in enumerate(features, start=1):
        try:
            properties = _properties(feature)
            what = _object_type(feature, properties) or _ANNOTATION
            geometry = feature.get("geometry")
            if what != _ANNOTATION:
                left_out[_OBJECTS.get(what, f"objects of the kind {what!r}")] += 1
            elif "geometry" not in feature:
                raise _Unreadable("has no geometry")
            elif geometry is None:
                left_out["without a geometry"] += 1
            elif _is_deeper(geometry):
                left_out["on other planes than the first (z, t)"] += 1
            else:
                outlines.add(number, geometry)
                names[number] = _class_name(feature, properties)
        except (_Unreadable, ValueError) as error:
            why = str(error) if isinstance(error, _Unreadable) else f"is not GeoJSON: its geometry {error}"
            who = f"feature {number} of {len(features)}" if len(features) > 1 else "the only feature"
            raise DataError(f"{path}: {who} {why} ({_shortened(feature)})") from error
    numbers, areas = outlines.build()
    left_out["points, lines or empty outlines"] += len(names) - len(numbers)
    notes = [f"{count} {what}" for what, count in left_out.items() if count]
    if not numbers:
        raise DataError(
            f"{path} holds no polygons{' but ' + ', '.join(notes) if notes else ''}; expected annotations as QuPath "
            "exports them (File → Export objects as GeoJSON)"
        )
    regions = [Region(area, names[number]) for number, area in zip(numbers, areas, strict=True)]
    return Annotations(regions, (f"left out: {', '.join(notes)}",) if notes else ())


def _features(content: Any, path: Path) -> list[dict[str, Any]]:
    """The features of any of the forms."""
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise DataError(f"{path} is not GeoJSON: expected a FeatureCollection, a list of features, or a geometry")
    return [entry if entry.get("type") == "Feature" else {"geometry": entry} for entry in content]


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    found = feature.get("properties")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _Unreadable("is not GeoJSON: its properties are no object")
    return found


def _object_type(feature: dict[str, Any], properties: dict[str, Any]) -> str | None:
    """QuPath's kind of object in lower case, `annotation` or `tmacore`; None where nobody says.

    Today `{"objectType": "tma_core"}`; earlier `{"object_type": …}`; before QuPath 0.3 `"id": "PathCellObject"`.
    """
    found = properties.get("objectType", properties.get("object_type"))
    identity = feature.get("id")
    if found is None and isinstance(identity, str) and identity.endswith(("Object", "TMACore")):
        found = identity
    if found is None:
        return None
    return str(found).lower().removeprefix("path").removesuffix("object").replace("_", "")


def _class_name(feature: dict[str, Any], properties: dict[str, Any]) -> str | None:
    """`{"classification": {"name": …}}`, a derived class as `{"names": […]}`, or simply a text.

    Of what is not from QuPath, whose `name` is that of one annotation, `name` is the class if nothing else is.
    """
    found = properties.get("classification")
    if found is None and _object_type(feature, properties) is None:
        found = properties.get("name")
    if isinstance(found, dict):
        found = found.get("name") or found.get("names")
    if isinstance(found, list) and all(isinstance(part, str) for part in found):
        found = SEPARATOR.join(found)
    if found is not None and not isinstance(found, str):
        raise _Unreadable(f"has the classification {found!r}, expected a name")
    # An accented letter can be written as one or as two; they look the same.
    name = unicodedata.normalize("NFC", " ".join(found.split())) if found else ""
    try:
        check_text(name, "the classification")  # it will stand in tables, pages and terminals
    except SettingError as error:
        raise _Unreadable(f"cannot be used: {error}") from error
    return name or None


def _is_deeper(geometry: Any) -> bool:
    plane = geometry.get("plane") if isinstance(geometry, dict) else None
    return isinstance(plane, dict) and any(plane.get(axis) not in (None, 0) for axis in ("z", "t"))


def _shortened(feature: Any) -> str:
    text = json.dumps(feature)
    return text if len(text) <= 80 else f"{text[:80]} …"
