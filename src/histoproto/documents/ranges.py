"""The ranges of numbers in files, settings and options: wide enough for any use, too narrow for an accident."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from histoproto.errors import SettingError

MPP = (1e-3, 1e3)
"""µm/px: from a tenth of what light can resolve to a millimetre."""
LARGEST_PATCH = 4096
"""Pixels along the side of a patch or window."""


def _no_truth(value: Any) -> Any:
    """`yes` is no 1."""
    if isinstance(value, bool):
        raise ValueError("a number is expected, not true or false")
    return value


_Float = Annotated[float, BeforeValidator(_no_truth), Field(allow_inf_nan=False)]
_Int = Annotated[int, BeforeValidator(_no_truth)]

Positive = Annotated[_Float, Field(gt=0, le=1e6)]
NonNegative = Annotated[_Float, Field(ge=0, le=1e6)]
Fraction = Annotated[_Float, Field(ge=0, lt=1)]
Share = Annotated[_Float, Field(gt=0, le=1)]
Probability = Annotated[_Float, Field(ge=0, le=1)]
Mpp = Annotated[_Float, Field(ge=MPP[0], le=MPP[1])]
Count = Annotated[_Int, Field(ge=1, le=1_000_000)]
Processes = Annotated[_Int, Field(ge=0, le=1024)]
Side = Annotated[_Int, Field(ge=1, le=LARGEST_PATCH)]
Seed = Annotated[_Int, Field(ge=0, lt=2**32)]


def in_range(value: float | None, low: float, high: float, what: str) -> None:
    """Refuse a number outside of [low, high], NaN too; None is fine.

    Raises:
        SettingError: names it as `what`.
    """
    if value is not None and not low <= value <= high:
        raise SettingError(f"{what} must be from {low:g} to {high:g}, found {value:g}")
