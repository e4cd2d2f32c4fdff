"""Small matters of language in what people read."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number and what it counts.

    >>> counted(1, "slide"), counted(0, "slide"), counted(12000, "tile")
    ('1 slide', '0 slides', '12000 tiles')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
