"""The folder of a finished slide: what is read again of it, and whether it is whole."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field

from histoproto.documents.shapes import read_json_as
from histoproto.slides.export.areas import AreaRow, read_areas

RECORD_FILE, AREAS_FILE = "record.json", "areas.csv"


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
        DocumentError: a file is missing, damaged, or not of a slide.
    """
    return Finished(read_json_as(folder / RECORD_FILE, SlideRecord), read_areas(folder / AREAS_FILE, regions=False))


def is_set_aside(folder: Path) -> bool:
    """Whether a folder has a name that `set_aside` gives."""
    return re.search(r"\.broken\d*$", folder.name) is not None


def set_aside(folder: Path) -> Path:
    """Move a folder away under a name that is free, NAME.broken; where it is then."""
    number = 1
    while os.path.lexists(other := folder.with_name(f"{folder.name}.broken{number if number > 1 else ''}")):
        number += 1
    return folder.rename(other)
