"""The folder of a finished slide: what is read again of it, and whether it is whole."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field

from histoproto.documents.shapes import read_json_as
from histoproto.errors import DocumentError
from histoproto.slides.export.areas import BACKGROUND, AreaRow, read_areas
from histoproto.tissue import UNCERTAIN

RECORD_FILE, AREAS_FILE = "record.json", "areas.csv"
_ROUNDED = 1e-6
"""mm² that are lost in writing."""


class _Tissue(BaseModel):
    name: str
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class _Trust(BaseModel):
    doubtful: Annotated[float, Field(ge=0, le=100)] | None = None
    strange: Annotated[float, Field(ge=0, le=100)] | None = None
    sentences: list[str] = []


class SlideRecord(BaseModel):
    """What others read of the record of a slide."""

    slide: str
    name: str | None = None
    width: Annotated[int, Field(gt=0)] | None = None
    height: Annotated[int, Field(gt=0)] | None = None
    mpp: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    regions: str | None = None
    image_told: str | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    windows: Annotated[int, Field(ge=0)]
    tissues: list[_Tissue]
    notes: list[str] = []
    trust: _Trust = _Trust()
    settings: dict[str, Any] = {}
    training_data: dict[str, Any] = {}


class Finished(NamedTuple):
    """A finished slide: its record, and its areas without those of the regions."""

    record: SlideRecord
    areas: list[AreaRow]


def is_begun(folder: Path) -> bool:
    """Whether there is a record, be it whole or not: it is written last."""
    return os.path.lexists(folder / RECORD_FILE)


def read_finished(folder: Path) -> Finished:
    """Read what a finished slide left.

    Raises:
        DocumentError: a file is missing, damaged, or not of a slide; or the areas are not those of its record.
    """
    record = read_json_as(folder / RECORD_FILE, SlideRecord)
    areas = read_areas(folder / AREAS_FILE, regions=False)
    if not _is_of(record, areas):
        raise DocumentError(
            f"{folder / AREAS_FILE} does not fit {RECORD_FILE} beside it (tissues, pixels or mm²): it was changed, or "
            "is of another slide"
        )
    return Finished(record, areas)


def _is_of(record: SlideRecord, areas: Sequence[AreaRow]) -> bool:
    """Whether areas can be those of the map that a record tells of."""
    names, found = [tissue.name for tissue in record.tissues], [row.tissue for row in areas]
    if sorted(found) not in (sorted([*names, BACKGROUND]), sorted([*names, BACKGROUND, UNCERTAIN])):
        return False
    if record.width and record.height and sum(row.pixels for row in areas) != record.width * record.height:
        return False
    return not record.mpp or all(
        abs(row.mm2 - row.pixels * (record.mpp / 1000) ** 2) < _ROUNDED for row in areas if not math.isnan(row.mm2)
    )


def is_set_aside(folder: Path) -> bool:
    """Whether a folder has such a name as `set_aside` gives, and nothing that is whole."""
    if not re.search(r"\.broken\d*$", folder.name):
        return False
    try:
        read_finished(folder)
    except DocumentError:
        return True
    return False


def set_aside(folder: Path) -> Path:
    """Move a folder away under a name that is free, NAME.broken; where it is then."""
    number = 1
    while os.path.lexists(other := folder.with_name(f"{folder.name}.broken{number if number > 1 else ''}")):
        number += 1
    return folder.rename(other)
