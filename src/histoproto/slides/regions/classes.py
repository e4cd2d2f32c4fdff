"""The names of QuPath's classes, and what they mean for what a person drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MARK = "*"
"""At the end of the name of a class that is no tissue: Ignore*, Artefact*, Region*."""
SEPARATOR = ": "
"""Between a class and one that is derived from it: `Tumor: Positive`."""


def is_ignored(name: str | None) -> bool:
    """Whether what has this class is cut out of what it lies on, and is nothing itself.

    >>> [is_ignored(name) for name in ("Ignore*", "Artefact*: Fold", "Region*", "Tumor", None)]
    [True, True, False, False, False]
    """
    return name is not None and not is_region(name) and any(part.endswith(MARK) for part in name.split(SEPARATOR))


def is_region(name: str | None) -> bool:
    """Whether it only says where to look, `Region*`: never a tissue, and nothing is cut out by it."""
    return name is not None and name.split(SEPARATOR)[0].casefold() == "region*"


def one_spelling(counts: Mapping[str, int]) -> dict[str, str]:
    """The name for each name as written: of those that differ by case, blanks or "tumour" alone, the commonest.

    >>> one_spelling({"Tumor ": 3, "tumor": 1, "Stroma": 1})
    {'Tumor ': 'Tumor', 'tumor': 'Tumor', 'Stroma': 'Stroma'}
    """
    chosen: dict[str, str] = {}
    for name in sorted(counts, key=lambda name: -counts[name]):
        chosen.setdefault(_plain(name), " ".join(name.split()))
    return {name: chosen[_plain(name)] for name in counts}


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The class of a list that a name means: itself, itself in another spelling, or what it is derived from.

    >>> [nearest(name, ["tumour", "Stroma"]) for name in ("Tumor", "Tumor: Positive: 3+", "stroma", "Necrosis")]
    ['tumour', 'tumour', 'Stroma', None]
    """
    by_plain = {_plain(one): one for one in known}
    parts = name.split(SEPARATOR)
    for length in range(len(parts), 0, -1):
        ancestor = SEPARATOR.join(parts[:length])
        if ancestor in known:
            return ancestor
        if _plain(ancestor) in by_plain:
            return by_plain[_plain(ancestor)]
    return None


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold().replace("tumour", "tumor")  # QuPath's own class is `Tumor`
