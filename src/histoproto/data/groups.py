"""Splitting regions by group (patient, slide), so that no group is on two sides."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from histoproto.data.images import natural_key
from histoproto.documents.ranges import in_range
from histoproto.documents.tables import read_table
from histoproto.errors import DataError, SettingError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
REGION_COLUMNS = ("region", "group", "split")
"""The header of `groups.csv` in a data folder that was cut with a split by group."""

_SPLIT_NAME = re.compile(
    r"(?:\d+[._ -]?)?(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id(?:ation)?)?)|(?P<test>test(?:ing)?))"
)


def split_named(name: str) -> Split | None:
    """The split that a folder or table cell means, however its data set spells it; None if it means none.

    >>> [split_named(name) for name in ("1.training", "Valid", "testing", "mask")]
    ['train', 'val', 'test', None]
    """
    match = _SPLIT_NAME.fullmatch(name.strip().lower())
    return next((split for split in SPLITS if match[split]), None) if match else None


def groups_from_table(table: Path, column: str, regions: Iterable[str]) -> dict[str, str]:
    """The group of each region from a CSV with the columns `image` (file name or stem) and `column`.

    Raises:
        DocumentError: the table cannot be read.
        DataError: it lacks a column, or says nothing (or two things) about a region.
    """
    content = read_table(table)
    missing = [name for name in ("image", column) if name not in content.header]
    if missing:
        raise DataError(f"{table} has no column {missing[0]!r}; its columns are {', '.join(content.header)}")
    known: dict[str, set[str]] = defaultdict(set)
    for row in content.rows:
        known[Path(row["image"]).stem].add(row[column].strip())
    groups = {}
    for region in regions:
        values = sorted(known.get(region, set()) - {""})
        if len(values) != 1:
            found = f"the values {', '.join(values)}" if values else "nothing"
            raise DataError(f"{table} says {found} for {column!r} of the image {region!r}, expected one value")
        groups[region] = values[0]
    return groups


def groups_from_pattern(pattern: str, regions: Iterable[str]) -> dict[str, str]:
    """The group of each region from its name: the first parenthesis of a regular expression, or all it matches.

    Raises:
        SettingError: the expression is malformed.
        DataError: a name that it does not match.

    >>> groups_from_pattern("^p([0-9]+)", ["p1_a", "p1_b", "p22"])
    {'p1_a': '1', 'p1_b': '1', 'p22': '22'}
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SettingError(f"{pattern!r} is no regular expression: {error}") from error
    groups = {}
    for region in regions:
        match = expression.search(region)
        group = (match[1] if expression.groups else match[0]) if match else None
        if not group:
            raise DataError(f"the regular expression {pattern!r} finds no group in the name {region!r}")
        groups[region] = group
    return groups


def assign_splits(
    groups: Iterable[str],
    *,
    val: Sequence[str] | float = (),
    test: Sequence[str] | float = (),
    seed: int = 0,
) -> dict[str, Split]:
    """Give each group one split: `val` and `test` name groups or are fractions of all groups, drawn at random.

    A fraction above 0 gives at least one group. What is left is for training.

    Raises:
        SettingError: a fraction outside [0, 1), a named group that does not exist or is named twice.
        DataError: nothing is left for training.
    """
    in_range(seed, 0, 2**32 - 1, "the seed")
    names = sorted(set(groups), key=natural_key)
    free = [str(name) for name in np.random.default_rng(seed).permutation(names)]
    splits: dict[str, Split] = {}
    wishes: tuple[tuple[Split, Sequence[str] | float], ...] = (("val", val), ("test", test))
    for split, wish in sorted(wishes, key=lambda pair: isinstance(pair[1], float)):  # named ones first
        if isinstance(wish, float):
            if not 0 <= wish < 1:
                raise SettingError(f"the {split} fraction must be at least 0 and below 1, found {wish}")
            chosen = free[: max(1, round(wish * len(names))) if wish else 0]
        else:
            chosen = list(wish)
        for group in chosen:
            if group not in names:
                raise SettingError(f"there is no group {group!r} for {split}; there are {', '.join(names)}")
            if group in splits:
                raise SettingError(f"the group {group!r} is named for {split} and {splits[group]}; name it once")
            splits[group] = split
        free = [group for group in free if group not in splits]
    if not free:
        raise DataError(f"no group is left for training: all of {', '.join(names)} went to val and test")
    return {group: splits.get(group, "train") for group in names}


def prove_disjoint(regions: Mapping[Split, Collection[str]], groups: Mapping[str, str]) -> None:
    """Check from what was really written that no group is on two sides.

    Args:
        regions: the region names found in each split.
        groups: the group of each region.

    Raises:
        DataError: a group is in two splits.
    """
    sides: dict[str, set[str]] = defaultdict(set)
    for split, names in regions.items():
        for name in names:
            sides[groups[name]].add(split)
    for group, found in sides.items():
        if len(found) > 1:
            raise DataError(
                f"the group {group!r} is in {' and '.join(sorted(found))}; a group must be on one side only"
            )


def read_region_groups(table: Path) -> dict[str, str]:
    """The group of each region from the `groups.csv` of a data folder; nothing where there is no such file.

    Raises:
        DataError: it has other columns, or a region has no group or two.
    """
    if not table.is_file():
        return {}
    found = read_table(table)
    if set(found.header) - {"split"} != {"region", "group"}:
        raise DataError(
            f"{table} has the columns {', '.join(found.header)}, expected {', '.join(REGION_COLUMNS)}; as it is, "
            "nobody knows which regions must be on one side"
        )
    groups: dict[str, str] = {}
    for line, row in zip(found.lines, found.rows, strict=True):
        region, group = row["region"], row["group"]
        if not region or not group:
            raise DataError(f"{table}, line {line}: the {'group' if region else 'region'} is missing")
        if groups.setdefault(region, group) != group:
            raise DataError(f"{table}, line {line}: the region {region} has the groups {groups[region]} and {group}")
    return groups
