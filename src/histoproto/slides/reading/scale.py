"""How many µm a pixel is wide: what a file says, and whether that can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path

from histoproto.errors import DataError, ImageError

PLAUSIBLE_MPP = (0.01, 50.0)
"""µm/px that a microscope can mean."""
SQUARE = 0.02
"""Relative difference of width and height of a pixel from which on areas and shapes would be wrong."""
SAME = 0.02
"""Relative difference below which two scales mean the same."""
COARSER, FINER = 8.0, 16.0
"""How many times coarser or finer than the model's (or the patches') a slide may be before its scale is doubted."""

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


def settle_mpp(path: Path, stated: Stated | None, told: float | None, notes: list[str]) -> float | None:
    """The µm/px of a slide, with a note on what was not believed.

    Args:
        path: the slide.
        stated: what its file says.
        told: what the user says, which counts.
        notes: to which sentences are added.

    Raises:
        DataError: the user names an impossible scale.
        ImageError: pixels that are not square, unless the user names their scale.
    """
    if told is not None and not PLAUSIBLE_MPP[0] <= told <= PLAUSIBLE_MPP[1]:
        raise DataError(f"µm/px of a slide must be from {PLAUSIBLE_MPP[0]} to {PLAUSIBLE_MPP[1]:g}, found {told}")
    if stated is None:
        return told
    if stated.doubt:
        notes.append(f"{stated.doubt}: not used")
        return told
    if told is None and abs(stated.across / stated.down - 1) > SQUARE:
        raise ImageError(
            f"{path} has pixels of {stated.across:.4g} × {stated.down:.4g} µm ({stated.source}), expected square ones: "
            "resample it, or give their µm/px if the file is wrong"
        )
    if told is not None and abs(told / stated.mpp - 1) > SAME:
        notes.append(f"{told:g} µm/px is taken, as told, though the file says {stated.mpp:.4g} ({stated.source})")
    return told or stated.mpp


def check_scale(path: Path, mpp: float, wanted: float, told: bool, option: str = "--mpp") -> None:
    """Doubt a slide's own scale that is far from the one it will be read at.

    Args:
        path: the slide.
        mpp: its µm/px.
        wanted: µm/px of the model, or of the patches.
        told: the user named the slide's.
        option: how.

    Raises:
        DataError: it is.
    """
    if not told and not wanted / FINER * (1 - SAME) <= mpp <= wanted * COARSER * (1 + SAME):
        raise DataError(
            f"{path} says that a pixel is {mpp:.4g} µm wide, {max(mpp / wanted, wanted / mpp):.0f} times "
            f"{'coarser' if mpp > wanted else 'finer'} than the {wanted:g} µm/px that it would be read at; if that is "
            f"right, say so with {option} {mpp:.4g}"
        )


def _is_multiple(dots: float, step: int) -> bool:
    whole = max(1, round(dots / step)) * step
    return abs(dots / whole - 1) < 2e-4
