"""Image labels in a CSV table: one row per image, a 0/1 column per tissue, optional `split` and `group` columns."""

from __future__ import annotations

from dataclasses import dataclass, field
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


def find_table(root: Path) -> Path | None:
    """`labels.csv`, or else the only CSV in a folder whose first row is an `image` and 0/1; None if there is none.

    `groups.csv`, which says which patient an image is from, is never it.
    """
    if (root / "labels.csv").is_file():
        return root / "labels.csv"
    tables = [path for path in sorted(root.glob("*.csv")) if path.name != "groups.csv" and _holds_labels(path)]
    return tables[0] if len(tables) == 1 else None


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
    empty = [line for line, row in numbered if not any(row[name] for name in tissues)]
    if empty:
        table.problems.append(
            f"{path.name}: {len(empty)} of {len(numbered)} images have no label yet, the first is in line {empty[0]}; "
            "write 0 or 1 for each tissue, or remove the row"
        )
    seen: set[str] = set()
    for line, row in numbered:
        if not any(row[name] for name in tissues):
            continue
        where = f"{path.name}, line {line} ({row['image']})"
        split = split_named(row.get("split", "train"))
        wrong = [f"{name} is {row[name]!r}" for name in tissues if row[name] not in ("0", "1")]
        if wrong:
            table.problems.append(f"{where}: {', '.join(wrong)}, expected 0 or 1")
        if split is None:
            table.problems.append(f"{where}: the split is {row['split']!r}, expected train, val or test")
        if row["image"] in seen:
            table.problems.append(f"{where}: this image is in the table twice")
        elif split is not None and not wrong:
            labels = tuple(int(row[name]) for name in tissues)
            table.rows.append(Row(row["image"], labels, split, row.get("group") or Path(row["image"]).stem))
        seen.add(row["image"])
    return table
