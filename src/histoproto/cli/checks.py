"""What is checked of every option of every command, before any work: numbers are numbers, names can be written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from histoproto.documents.names import check_name, check_text
from histoproto.errors import SettingError

LARGEST = 2**32 - 1
"""No number of any option comes near it: pixels, µm, patches; and it is the largest seed that there is."""


class CheckedCommand(TyperCommand):
    """A command whose options are checked."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse a path that is empty, as "$UNSET" is, before it becomes the folder that one is in."""
        empty = "" in args
        rest = super().parse_args(ctx, args)
        paths = [value for given in ctx.params.values() for value in _each(given) if isinstance(value, Path)]
        if empty and Path() in paths:
            raise SettingError("a path is empty; write . for the folder you are in")
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Check, then run."""
        for name, value in ctx.params.items():
            for one in _each(value):
                _check(f"--{name.replace('_', '-')}", one)
        try:
            return super().invoke(ctx)
        except EOFError as error:  # typer would take it for the end of the user's typing, and say "Aborted."
            raise RuntimeError(f"a file ended too early: {error}") from error


def _each(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def _check(option: str, value: object) -> None:
    if isinstance(value, int | float) and not -LARGEST <= value <= LARGEST:
        what = (
            "no finite number"
            if isinstance(value, float) and not math.isfinite(value)
            else "larger than any that makes sense"
        )
        raise SettingError(f"{option} is {str(value)[:20]}, {what}")
    if isinstance(value, str):
        check_text(value, option)
    if isinstance(value, Path):
        check_name(str(value), option)
