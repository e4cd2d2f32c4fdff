"""Image labels in file names, each data set in its own spelling, and the group a patch belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from histoproto.errors import DataError
from histoproto.tissue import BCSS, LUAD_HISTOSEG, WSSS4LUAD, TissueSet

_BRACKETS = re.compile(r"(?P<name>.*)\[(?P<label>[^\[\]]*)\]")
_COORDINATES = re.compile(r"(?P<group>.+?)(?:[-_]\d+[-_]\d+)?[-_]*")


@dataclass(frozen=True)
class Spelling:
    """How a data set writes image labels: the name of its layout, what stands between the brackets, its tissues."""

    layout: str
    label: re.Pattern[str]
    tissues: TissueSet
    example: str


SPELLINGS = (
    Spelling("bcss-wsss", re.compile(r"[01]+"), BCSS, "NAME+0[1101].png"),
    Spelling("luad-histoseg", re.compile(r"[01](?: [01])+"), LUAD_HISTOSEG, "NAME-2300-27920-[1 0 0 1].png"),
    Spelling("wsss4luad", re.compile(r"[01](?:, ?[01])+"), WSSS4LUAD, "NAME-7159-48057-[1, 0, 0].png"),
)


def find_spelling(stems: Iterable[str]) -> Spelling | None:
    """The spelling that most of the file name stems follow; None where none of them carries a label."""
    texts = [match["label"] for stem in stems if (match := _BRACKETS.fullmatch(stem))]
    votes = [sum(bool(spelling.label.fullmatch(text)) for text in texts) for spelling in SPELLINGS]
    return SPELLINGS[votes.index(max(votes))] if any(votes) else None


def read_label(stem: str, spelling: Spelling, count: int | None = None) -> tuple[int, ...]:
    """The image label at the end of a file name stem, one 0/1 per tissue.

    Raises:
        DataError: there is none, it is spelt differently, or it has not `count` digits.

    >>> read_label("1031280-2300-27920-[1 0 0 1]", SPELLINGS[1])
    (1, 0, 0, 1)
    """
    match = _BRACKETS.fullmatch(stem)
    if match is None:
        raise DataError(f"{stem!r} carries no label, expected a name like {spelling.example!r}")
    if not spelling.label.fullmatch(match["label"]):
        raise DataError(f"{stem!r}: the label [{match['label']}] is not spelt as in {spelling.example!r}")
    label = tuple(int(digit) for digit in re.findall("[01]", match["label"]))
    if count is not None and len(label) != count:
        raise DataError(f"{stem!r}: the label has {len(label)} digits, expected {count}, one per tissue")
    return label


def unlabelled(stem: str) -> str:
    """The stem without its label: what a patch is called whatever it is labelled.

    >>> unlabelled("region+0[1101]")
    'region+0'
    """
    match = _BRACKETS.fullmatch(stem)
    return match["name"] if match else stem


def group_of(stem: str) -> str:
    """The region or slide a patch was cut from, by its name: before `+INDEX`, or before two coordinates.

    >>> group_of("region+0[1101]"), group_of("1031280-2300-27920-[1 0 0 1]"), group_of("07")
    ('region', '1031280', '07')
    """
    name = unlabelled(stem)
    region, plus, _ = name.rpartition("+")
    if plus and region:
        return region
    match = _COORDINATES.fullmatch(name)
    return match["group"] if match else name


def patch_name(region: str, index: int, label: Sequence[int] | None = None) -> str:
    """The file name (BCSS-WSSS spelling) of the patch at position `index` of a region, with or without its label.

    >>> patch_name("a", 7, (0, 1)), patch_name("a", 7)
    ('a+7[01].png', 'a+7.png')
    """
    digits = "" if label is None else "[" + "".join(str(int(present)) for present in label) + "]"
    return f"{region}+{index}{digits}.png"
