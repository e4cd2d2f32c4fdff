"""The table of measurements, as CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from histoproto.documents.tables import read_table, write_table
from histoproto.errors import DocumentError
from histoproto.slides.measures.measurement import Measurement
from histoproto.slides.measures.part import WHOLE_SLIDE

MEASURES_FILE = "measures.csv"
HEADER = ("slide", "region", "measure", "tissue", "other", "um", "value", "unit")
MOST = 512 << 20
"""Bytes of a table."""


def write_measures(path: Path, measured: Mapping[str, Sequence[Measurement]]) -> None:
    """Write the measurements of slides, by their name: a row each; NaN is left empty.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = (
        (slide, row.region, row.measure, row.tissue, row.other, _number(row.um), _number(row.value), row.unit)
        for slide, found in measured.items()
        for row in found
    )
    write_table(path, HEADER, rows)


def read_measures(path: Path, regions: bool = True) -> dict[str, list[Measurement]]:
    """Read what `write_measures` wrote, without those of regions (there may be very many) if they are not asked
    for.

    Raises:
        DocumentError: it cannot be read, or is something else.
    """
    table = read_table(path, MOST, None if regions else lambda cells: cells[1:2] == [WHOLE_SLIDE])
    if tuple(table.header) != HEADER:
        raise DocumentError(f"{path} is no table of measures: expected the columns {', '.join(HEADER)}")
    measured: dict[str, list[Measurement]] = {}
    try:
        for row in table.rows:
            um, value = (float(row[name] or math.nan) for name in ("um", "value"))
            if math.isinf(um) or math.isinf(value) or value < 0:
                raise ValueError(f"{row['measure']} is {row['value']}")
            found = Measurement(row["region"], row["measure"], row["tissue"], row["other"], um, value, row["unit"])
            measured.setdefault(row["slide"], []).append(found)
    except ValueError as error:
        raise DocumentError(f"{path} is no table of measures: {error}") from error
    return measured


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.9g}"
