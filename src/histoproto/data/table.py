"""Image labels in a CSV table: one row per image, a 0/1 column per tissue, optional `split` and `group` columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path

from histoproto.data.groups import Split, split_named
from histoproto.documents.tables import read_table
from histoproto.errors import DataError, DocumentError

_RESERVED = ("image", "split", "group")


@dataclass(frozen=True)
class Row:
    """One image of a table: its path as written there, label in column order, split and group (its stem if none)."""

    image: str
    labels: tuple[int, ...]
    split: Split
    group: str


@dataclass(frozen=True)
class LabelTable:
    """A table of image labels: the tissue columns in order, its good rows, and a sentence for each bad one."""

    tissues: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_table(root: Path) -> Path | None:
    """`labels.csv`, or else the only CSV in a folder whose first row is an `image` and 0/1; None if there is none.

    `groups.csv`, which says which patient an image is from, is never it.

    Raises:
        DataError: there are several.
    """
    if (root / "labels.csv").is_file():
        return root / "labels.csv"
    tables = [path for path in sorted(root.glob("*.csv")) if path.name != "groups.csv" and _holds_labels(path)]
    if len(tables) > 1:
        raise DataError(
            f"{root} has {len(tables)} tables of labels, {', '.join(path.name for path in tables)}; name the one that "
            "counts labels.csv"
        )
    return tables[0] if tables else None


def _holds_labels(path: Path) -> bool:
    try:
        table = read_table(path)
    except DocumentError:
        return False
    values = [{row[name] for name in table.header if name not in _RESERVED} for row in table.rows[:1]]
    return "image" in table.header and any(row and row <= {"0", "1"} for row in values)


def read_labels(path: Path) -> LabelTable:
    """Read a table of image labels.

    Raises:
        DocumentError: it cannot be read.
        DataError: it has no column `image`, or no tissue column.
    """
    found = read_table(path)
    tissues = tuple(name for name in found.header if name not in _RESERVED)
    if "image" not in found.header or not tissues:
        raise DataError(
            f"{path} needs the column 'image' and one per tissue; its columns are {', '.join(found.header)}"
        )
    table = LabelTable(tissues)
    numbered = list(zip(found.lines, found.rows, strict=True))
    for name in tissues:
        cells = {row[name] for row in found.rows} - {""}
        if cells and not cells & {"0", "1"}:
            raise DataError(
                f"{path}: the column {name!r} holds no 0 or 1, so it is no tissue; besides image, split and group "
                "there are only columns of tissues"
            )
    empty = [line for line, row in numbered if not any(row[name] for name in tissues)]
    if empty:
        table.problems.append(
            f"{path.name}: {len(empty)} of {len(numbered)} images have no label yet, the first is in line {empty[0]}; "
            "write 0 or 1 for each tissue, or remove the row"
        )
    if "group" in found.header and (alone := [line for line, row in numbered if not row["group"]]):
        table.notes.append(
            f"{path.name}: {len(alone)} images have no group, the first in line {alone[0]}; each is its own"
        )
    seen: dict[str, int] = {}
    for line, row in numbered:
        if not any(row[name] for name in tissues):
            continue
        where = f"{path.name}, line {line} ({row['image']})"
        wrong = [f"{name} is {row[name]!r}" for name in tissues if row[name] not in ("0", "1")]
        split = split_named(row.get("split", "train"))
        problems = [f"{', '.join(wrong)}, expected 0 or 1"] if wrong else []
        if split is None:
            problems.append(f"the split is {row['split']!r}, expected train, val or test")
        if not row["image"]:
            problems.append("the image is missing")
        elif (file := normpath(row["image"].replace("\\", "/"))) in seen:
            problems.append(f"this image is in line {seen[file]}, too")
        else:
            seen[file] = line
        table.problems.extend(f"{where}: {problem}" for problem in problems)
        if not problems and split is not None:
            labels = tuple(int(row[name]) for name in tissues)
            image = row["image"].replace("\\", "/")  # as Windows writes paths
            table.rows.append(Row(image, labels, split, row.get("group") or Path(image).stem))
    return table
