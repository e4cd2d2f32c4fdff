"""The size of a pixel as a file states it, and whether a microscope can mean it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path

from histoproto.errors import ImageError

PLAUSIBLE_MPP = (0.01, 50.0)
"""µm/px that a microscope can mean."""
SQUARE = 0.02
"""Relative difference of width and height of a pixel from which on areas and shapes would be wrong."""

_PRINTERS = (72, 75, 90, 96, 100)
"""Dots per inch of which those of screens, printers and scanners are whole multiples, up to the limit below."""
_PRINTERS_LIMIT = 9600
_INCH_UM = 25400.0


@dataclass(frozen=True)
class Stated:
    """The size of a pixel as a file states it.

    Attributes:
        across, down: µm.
        source: where it stands, such as "OME PhysicalSize".
        of_print: in tags that are there for printing, too, so that a printer's resolution is none of a microscope.
    """

    across: float
    down: float
    source: str
    of_print: bool = False

    @property
    def mpp(self) -> float:
        """Of a square of the same area."""
        return sqrt(self.across * self.down)

    @property
    def doubt(self) -> str:
        """Why this cannot be that of a microscope; empty: it can."""
        if not all(isfinite(side) and side > 0 for side in (self.across, self.down)):
            return f"its {self.source} says {self.across:g} × {self.down:g} µm"
        dots = _INCH_UM / self.mpp
        if self.of_print and dots < _PRINTERS_LIMIT * 1.001 and any(_is_multiple(dots, step) for step in _PRINTERS):
            return f"its {self.source} says {dots:.0f} dots per inch, as printers, screens and scanners have"
        if not PLAUSIBLE_MPP[0] <= self.mpp <= PLAUSIBLE_MPP[1]:
            return f"its {self.source} says {self.mpp:.4g} µm, which is none of a microscope"
        return ""


def refuse_oblong(path: Path, stated: Stated | None, way_out: str) -> None:
    """Pixels that are not square, of a scale that can be believed.

    Args:
        path: of the file.
        stated: what it says.
        way_out: what to do if it is wrong.

    Raises:
        ImageError: they are not.
    """
    if stated is not None and not stated.doubt and abs(stated.across / stated.down - 1) > SQUARE:
        raise ImageError(
            f"{path} has pixels of {stated.across:.4g} × {stated.down:.4g} µm ({stated.source}), expected square ones: "
            f"resample it, or {way_out} if the file is wrong"
        )


def _is_multiple(dots: float, step: int) -> bool:
    whole = max(1, round(dots / step)) * step
    return abs(dots / whole - 1) < 2e-4
