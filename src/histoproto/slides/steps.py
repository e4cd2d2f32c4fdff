"""Work in steps, of which the later ones may be taken by another thread."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")


def advance(steps: Generator[None, None, Result]) -> Result | None:
    """Take one step; the result if it was the last, otherwise None."""
    try:
        next(steps)
    except StopIteration as end:
        result: Result = end.value
        return result
    return None


def finish(steps: Generator[None, None, Result]) -> Result:
    """Take all steps that are left."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
