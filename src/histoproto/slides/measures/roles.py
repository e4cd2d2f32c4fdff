"""Which tissues are meant where a measure has the name that the field gave it: tumour, stroma, lymphocytes."""

from __future__ import annotations

from collections.abc import Sequence

from histoproto.errors import SettingError

TUMOUR, STROMA, LYMPHOCYTES = "tumour", "stroma", "lymphocytes"
_NAMES = {
    TUMOUR: {"tumour", "tumor"},
    STROMA: {"stroma"},
    LYMPHOCYTES: {"lymphocytes", "lymphocyte", "tils", "til"},
}


def find_role(role: str, tissues: Sequence[str]) -> int | None:
    """The only tissue that is called by a role, in either spelling and any case; None if none or several are.

    Nothing is guessed from longer names: "tumour-associated stroma" is none of tumour, and "malignant gland" may be.

    >>> find_role("tumour", ["Tumor", "stroma"]), find_role("tumour", ["malignant gland"])
    (0, None)
    """
    found = [index for index, name in enumerate(tissues) if " ".join(name.split()).casefold() in _NAMES[role]]
    return found[0] if len(found) == 1 else None


def find_tissue(name: str, tissues: Sequence[str], what: str) -> int:
    """The index of a tissue that the user named.

    Raises:
        SettingError: there is no such tissue; `what` says where the name came from.
    """
    if name not in tissues:
        raise SettingError(f"{what}: there is no tissue {name!r} in this map; it has {', '.join(tissues)}")
    return tissues.index(name)


def find_pair(text: str, tissues: Sequence[str], what: str) -> tuple[int, int]:
    """Two different tissues, written as A:B; names may hold colons themselves.

    Raises:
        SettingError: they are not two tissues of the map, or the same twice.
    """
    parts = text.split(":")
    pairs = [(":".join(parts[:cut]).strip(), ":".join(parts[cut:]).strip()) for cut in range(1, len(parts))]
    if not pairs:
        raise SettingError(f"{what} is {text!r}, expected two tissues with a colon between them")
    known = [pair for pair in pairs if pair[0] in tissues and pair[1] in tissues]
    one, other = known[0] if len(known) == 1 else pairs[0]
    found = find_tissue(one, tissues, what), find_tissue(other, tissues, what)
    if found[0] == found[1]:
        raise SettingError(f"{what} names {one!r} twice, expected two different tissues")
    return found
