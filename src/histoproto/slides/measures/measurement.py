"""All that is measured of a map, part by part. docs/slides.md has the formulas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from histoproto.documents.ranges import in_range
from histoproto.errors import SettingError
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.measures.components import Components
from histoproto.slides.measures.interface import REACH, Interfaces
from histoproto.slides.measures.nearness import FARTHEST_UM, near_counts
from histoproto.slides.measures.part import Part
from histoproto.slides.measures.roles import LYMPHOCYTES, STROMA, TUMOUR, find_pair, find_role
from histoproto.slides.outlines.tracing import strip_rows

NEAR_UM = 100.0
"""Distance from tumour within which the share of each tissue is measured by default."""


class Measurement(NamedTuple):
    """One number about a part of a map."""

    region: str
    """`slide`, or the number and class of a region: `2 Tumor`."""
    measure: str
    """`TSR`, `TILs`, `within`, `interface`, `regions`, `mean`, `q25`, `median`, `q75` or `largest` of their areas."""
    tissue: str
    other: str
    """The second tissue, where there are two."""
    um: float
    """Distance; NaN where there is none."""
    value: float
    """NaN where it is not defined, as a share of nothing is."""
    unit: str
    """`%`, `mm`, `mm2`, or nothing for a number."""

    @property
    def title(self) -> str:
        """In words, with the unit.

        >>> Measurement("slide", "within", "stroma", "tumour", 100.0, 5.0, "%").title
        'stroma within 100 µm of tumour %'
        """
        what = {
            "within": f"{self.tissue} within {self.um:g} µm of {self.other}",
            "interface": f"interface {self.tissue}–{self.other}",
            "regions": f"{self.tissue} regions",
        }
        named = what.get(self.measure, self.measure if self.other else f"{self.tissue} region {self.measure}")
        return f"{named} {self.unit}".rstrip()


class Near(NamedTuple):
    """Indices of two tissues and a distance: how much of the first is within it of the second."""

    tissue: int
    other: int
    um: float


@dataclass(frozen=True)
class Wanted:
    """What is measured beside what always is: interfaces and connected regions.

    Attributes:
        tsr: indices of tumour and stroma; None: nothing is called so, and there is no TSR.
        tils: indices of lymphocytes and stroma, likewise.
        near: distances.
    """

    tsr: tuple[int, int] | None = None
    tils: tuple[int, int] | None = None
    near: tuple[Near, ...] = field(default=())


def wanted_of(
    tissues: Sequence[str], near: Sequence[str] = (), tsr: str | None = None, tils: str | None = None
) -> Wanted:
    """What is to be measured, from what the user wrote.

    Args:
        tissues: names of those of the map.
        near: A:B:DISTANCE each, in µm. None at all: each tissue within 100 µm of the one that is called tumour.
        tsr: TUMOUR:STROMA; None: the tissues of these names, if there are.
        tils: LYMPHOCYTES:STROMA, likewise.

    Raises:
        SettingError: there is no such tissue, or the distance is none.
    """
    roles = {role: find_role(role, tissues) for role in (TUMOUR, STROMA, LYMPHOCYTES)}

    def pair(text: str | None, option: str, one: str, other: str) -> tuple[int, int] | None:
        if text is not None:
            return find_pair(text, tissues, option)
        found = roles[one], roles[other]
        return None if found[0] is None or found[1] is None else (found[0], found[1])

    tumour = roles[TUMOUR]
    if near:
        distances = [_near(text, tissues) for text in near]
    else:
        distances = [Near(each, tumour, NEAR_UM) for each in range(len(tissues)) if tumour not in (None, each)]
    return Wanted(
        pair(tsr, "--tsr", TUMOUR, STROMA),
        pair(tils, "--tils", LYMPHOCYTES, STROMA),
        tuple(dict.fromkeys(distances)),
    )


def measure_map(
    raster: LabelRaster, tissues: Sequence[str], mpp: float, parts: Sequence[Part], wanted: Wanted
) -> list[Measurement]:
    """Measure parts of a map, strip by strip.

    Args:
        raster: the map; labels from C on (background, uncertain places) are no tissue: they have no share in anything.
        tissues: names of the C tissues.
        mpp: µm per pixel of the map.
        parts: see `parts_of`.
        wanted: see `wanted_of`.
    """
    return [row for part in parts for row in _measure(raster, tissues, mpp, part, wanted)]


def _measure(
    raster: LabelRaster, names: Sequence[str], mpp: float, part: Part, wanted: Wanted
) -> Iterator[Measurement]:
    count = len(names)
    pixels = np.zeros(256, dtype=np.int64)
    interfaces, components = Interfaces(count), Components(count)
    for block, rows in part.strips(raster, strip_rows(max(1, part.width)), REACH) if part.width > 0 else ():
        pixels += np.bincount(block[:rows].reshape(-1), minlength=256)
        interfaces.add(block, rows)
        components.add(block[:rows])

    def row(
        measure: str, value: float, unit: str, tissue: int, other: int | None = None, um: float = math.nan
    ) -> Measurement:
        return Measurement(part.name, measure, names[tissue], "" if other is None else names[other], um, value, unit)

    if wanted.tsr:
        tumour, stroma = wanted.tsr
        yield row("TSR", _percent(pixels[stroma], pixels[tumour] + pixels[stroma]), "%", stroma, tumour)
    if wanted.tils:
        lymphocytes, stroma = wanted.tils
        yield row("TILs", _percent(pixels[lymphocytes], pixels[lymphocytes] + pixels[stroma]), "%", lymphocytes, stroma)
    found: dict[tuple[int, float], NDArray[np.float64]] = {}
    for near in wanted.near:
        key = near.other, near.um
        if key not in found:
            found[key] = near_counts(raster, part, count, *key, mpp)
        yield row("within", _percent(found[key][near.tissue], pixels[near.tissue]), "%", *near)
    lengths = interfaces.lengths() * mpp / 1000
    for one, other in combinations(range(count), 2):
        yield row("interface", lengths[one, other], "mm", one, other)
    for tissue, sizes in enumerate(components.sizes()):
        areas = sizes * (mpp / 1000) ** 2
        yield row("regions", len(areas), "", tissue)
        spread = (areas.mean(), *np.quantile(areas, (0.25, 0.5, 0.75)), areas[-1]) if len(areas) else [math.nan] * 5
        for measure, value in zip(("mean", "q25", "median", "q75", "largest"), spread, strict=True):
            yield row(measure, float(value), "mm2", tissue)


def _near(text: str, tissues: Sequence[str]) -> Near:
    pair, _, distance = text.rpartition(":")
    try:
        um = float(distance)
    except ValueError:
        um = math.nan
    if not pair or math.isnan(um):
        raise SettingError(
            f"--near is {text!r}, expected two tissues and a distance in µm, such as lymphocytes:tumour:100"
        )
    in_range(um, 0.1, FARTHEST_UM, "the distance of --near in µm")
    return Near(*find_pair(pair, tissues, "--near"), um)


def _percent(part: float, whole: int) -> float:
    return 100 * float(part) / int(whole) if whole else math.nan
