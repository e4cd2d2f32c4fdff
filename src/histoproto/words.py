"""Small matters of language in what people read."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "s") -> str:
    """A number and what it counts; `plural` is what makes many of the noun.

    >>> counted(1, "slide"), counted(0, "slide"), counted(12000, "tile")
    ('1 slide', '0 slides', '12000 tiles')
    >>> counted(2, "patch", "es")
    '2 patches'
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{plural}"


def listed(names: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """The first names of many, and how many more there are.

    >>> listed(["a", "b"]), listed(["a", "b", "c", "d"], most=2)
    ('a, b', 'a, b and 2 more')
    """
    more = len(names) - most
    return separator.join(names[:most]) + (f" and {more} more" if more > 0 else "")
