"""Tables as CSV: read with limits, and written so that no spreadsheet takes a cell for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from histoproto.documents.content import MIB, read_text
from histoproto.errors import DocumentError
from histoproto.files import replace_atomically
from histoproto.printable import printable

MOST, ROWS, COLUMNS = 64 * MIB, 1_000_000, 1_000
DELIMITERS = ",;\t"
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PROTECTED = re.compile(r"'+[=+\-@\t\r]")


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes:
        header: names of the columns, all different.
        rows: cells by column, blanks around them trimmed; empty rows are left out.
        lines: the line of each row in its file, as an editor numbers them.
    """

    header: list[str]
    rows: list[dict[str, str]]
    lines: list[int]


def read_table(path: Path, most: int = MOST, wanted: Callable[[list[str]], bool] | None = None) -> Table:
    """A CSV file: comma, semicolon or tab, UTF-8 or with a byte-order mark. What `write_table` writes comes back.

    Args:
        path: of the file.
        most: bytes it may have.
        wanted: whether a row is kept, by its cells as they are written; of the others only the number of cells is
            checked. None: all are.

    Raises:
        DocumentError: it cannot be read, is empty or too large, a column has no name or that of another, or a row has
            another number of cells than the header.
    """
    text = read_text(path, most)
    if odd := _CONTROL.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise DocumentError(f"{path}, line {line}: there is the control character {odd[0]!a}; remove it")
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=first.count), strict=True)
    header: list[str] = []
    rows: list[dict[str, str]] = []
    lines: list[int] = []
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if wanted and len(cells) == len(header) and not wanted(cells):
                continue
            row = [_plain(cell.strip()) for cell in cells]
            if not any(row):
                continue
            if not header:
                header = _checked(row, f"{path}, line {start}")
                continue
            if len(row) != len(header):
                raise DocumentError(
                    f"{path}, line {start}: found {len(row)} cells, expected {len(header)} as in the header"
                )
            if len(rows) == ROWS:
                raise DocumentError(f"{path} has more than {ROWS} rows; split it")
            rows.append(dict(zip(header, row, strict=True)))
            lines.append(start)
    except csv.Error as error:
        raise DocumentError(f"{path}, line {line}: this is no CSV: {error}") from error
    if not header:
        raise DocumentError(f"the table {path} is empty; expected a header, and rows below it")
    return Table(header, rows, lines)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, at once and whole.

    A text that a spreadsheet would compute (`=1+1`, `@x`) gets an apostrophe before it, which spreadsheets and
    `read_table` take away again; numbers stay as they are.

    Raises:
        OutputError: it cannot be written.
    """
    with replace_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(safe_cell(name) for name in header)
        writer.writerows([safe_cell(cell) for cell in row] for row in rows)


def safe_cell(cell: object) -> str:
    """A cell as text that no spreadsheet computes.

    >>> safe_cell("=HYPERLINK()"), safe_cell("tumour"), safe_cell(-1.5), safe_cell("-1.5")
    ("'=HYPERLINK()", 'tumour', '-1.5', '-1.5')
    """
    text = "" if cell is None else _CONTROL.sub(lambda odd: printable(odd[0]), str(cell))  # which `read_table` refuses
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def _plain(cell: str) -> str:
    return cell[1:] if _PROTECTED.match(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _checked(header: list[str], where: str) -> list[str]:
    if len(header) > COLUMNS:
        raise DocumentError(f"{where}: there are {len(header)} columns, at most {COLUMNS} are read")
    if wrong := [name for name in header if header.count(name) > 1 or not name]:
        found = f"{wrong[0]!r} is there twice" if wrong[0] else "one has none"
        raise DocumentError(f"{where}: every column needs a name of its own, and {found}")
    return header
