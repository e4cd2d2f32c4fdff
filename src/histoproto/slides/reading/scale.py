"""How many µm a pixel of a slide is wide: what its file says and what the user says, settled and doubted."""

from __future__ import annotations

from pathlib import Path

from histoproto.data.scale import PLAUSIBLE_MPP, Stated, refuse_oblong
from histoproto.errors import DataError

SAME = 0.02
"""Relative difference below which two scales mean the same."""
COARSER, FINER = 8.0, 16.0
"""How many times coarser or finer than the model's (or the patches') a slide may be before its scale is doubted."""


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
    if told is None:
        refuse_oblong(path, stated, "give their µm/px")
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
