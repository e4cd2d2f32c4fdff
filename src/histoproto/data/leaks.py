"""What is on two sides of a split: groups, files, and copies of files. Scores on what was learnt from say nothing."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

from histoproto.data.groups import SPLITS, Split
from histoproto.data.images import natural_key
from histoproto.data.layouts import DataFolder, Patch
from histoproto.data.names import group_of, unlabelled
from histoproto.errors import DataError
from histoproto.words import counted, listed

HEAD = 4096
"""Bytes at the start of a file by which those of one size are told apart before they are read whole."""
COUNTED = 4
"""Digits up to which a region's number is taken for its place in a folder, not for the name of a slide."""


def find_leaks(data: DataFolder) -> list[str]:
    """A sentence for each two splits of a data folder that have groups or image files in common."""
    leaks = group_leaks(data)
    for one, some, two, others in _pairs(data):
        if same := shared_images(some, others):
            named = [f"{first.name} = {second.name}" for first, second in same]
            leaks.append(f"{_are(len(same), 'image')} in {one} and in {two}: {listed(named)}")
    return leaks


def group_leaks(data: DataFolder) -> list[str]:
    """A sentence for each two splits of a data folder that have groups in common.

    The group of an image is what its table, `groups.csv` or its name says (`REGION+0`, `SLIDE-2300-27920`). A name
    without such a place in a region is no group, nor is a short number (`00+3`): each folder may count from 1.
    """
    leaks = []
    for one, some, two, others in _pairs(data):
        if groups := sorted(_groups(some) & _groups(others), key=natural_key):
            leaks.append(f"{_are(len(groups), 'group')} in {one} and in {two}: {listed(groups)}")
    return leaks


def refuse_leaks(leaks: Sequence[str], source: Path, allowed: bool, how: str) -> None:
    """Stop where there are leaks, unless the user has said that they may be.

    Raises:
        DataError: there are; `how` is what allows them.
    """
    if leaks and not allowed:
        raise DataError(
            f"{source}: {'; '.join(leaks)}; scores on what was learnt from say nothing, so split the data by group, or "
            f"go on with {how}, which is recorded"
        )


def shared_images(some: Iterable[Patch], others: Iterable[Patch]) -> list[tuple[Path, Path]]:
    """Image files of two sets that are one file, or hold the same bytes; pairs, in the order of the second set."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for patch in some:
        if patch.image.is_file():
            by_size[patch.image.stat().st_size].append(patch.image)
    heads: dict[Path, bytes] = {}

    def head(path: Path) -> bytes:
        if path not in heads:
            with path.open("rb") as file:
                heads[path] = hashlib.blake2b(file.read(HEAD)).digest()
        return heads[path]

    pairs = []
    for patch in others:
        path = patch.image
        alike = by_size.get(path.stat().st_size, []) if path.is_file() else []
        same = (
            other
            for other in alike
            if other.samefile(path) or (head(other) == head(path) and other.read_bytes() == path.read_bytes())
        )
        if (twin := next(same, None)) is not None:
            pairs.append((twin, path))
    return pairs


def _pairs(data: DataFolder) -> Iterator[tuple[Split, Sequence[Patch], Split, Sequence[Patch]]]:
    sides: list[tuple[Split, Sequence[Patch]]] = [(split, getattr(data, split)) for split in SPLITS]
    return ((one, some, two, others) for (one, some), (two, others) in combinations(sides, 2))


def _groups(patches: Iterable[Patch]) -> set[str]:
    return {patch.group for patch in patches if not _is_bare(patch)}


def _is_bare(patch: Patch) -> bool:
    """Whether its group is a name that says nothing beyond its folder: its own, or a short number (`00+3`)."""
    if patch.group == unlabelled(patch.image.stem):
        return True
    return patch.group.isdigit() and len(patch.group) <= COUNTED and patch.group == group_of(patch.image.stem)


def _are(count: int, what: str) -> str:
    return f"{counted(count, what)} {'is' if count == 1 else 'are'}"


def similar_groups(data: DataFolder) -> list[str]:
    """A sentence on groups whose names differ so little that they may be one; none if there are none."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for split in SPLITS:
        for patch in getattr(data, split):
            spellings[unicodedata.normalize("NFC", patch.group).casefold()].add(patch.group)
    alike = [sorted(names) for names in spellings.values() if len(names) > 1]
    some = "; ".join(", ".join(names) for names in alike[:5]) + (" …" if len(alike) > 5 else "")
    return [f"groups that differ by case or accents alone count as different ones: {some}"] if alike else []
