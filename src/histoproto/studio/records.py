"""What the database of a project holds: slides, tiles, what was said of them; and the form of its tables."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

Verdict = Literal["label", "unsure", "exclude", "skip"]
"""What can be said of a tile: which tissues are in it (none: background), that one cannot tell, that it is no tissue to
learn from (blur, pen, fold), or nothing for now."""
VERDICTS: tuple[str, ...] = get_args(Verdict)

SCHEMA = """
CREATE TABLE IF NOT EXISTS slides (
    name TEXT PRIMARY KEY, path TEXT NOT NULL, mpp REAL NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tiles (
    id INTEGER PRIMARY KEY, slide TEXT NOT NULL REFERENCES slides (name), x REAL NOT NULL, y REAL NOT NULL,
    side REAL NOT NULL, checks INTEGER NOT NULL, UNIQUE (slide, x, y, side)
) STRICT;
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, time TEXT NOT NULL, who TEXT NOT NULL, tile INTEGER NOT NULL REFERENCES tiles (id),
    verdict TEXT NOT NULL, ticks TEXT NOT NULL, guess TEXT, round INTEGER, reason TEXT NOT NULL, seconds REAL,
    undoes INTEGER REFERENCES events (id)
) STRICT;
CREATE TABLE IF NOT EXISTS embeddings (
    id INTEGER PRIMARY KEY, tile INTEGER NOT NULL UNIQUE REFERENCES tiles (id), vector BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS looks (
    tile INTEGER PRIMARY KEY REFERENCES tiles (id), tissue REAL NOT NULL, ink REAL NOT NULL, sharpness REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tissues (name TEXT PRIMARY KEY, after INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS digests (tile INTEGER PRIMARY KEY REFERENCES tiles (id), digest BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS events_of_tile ON events (tile);
CREATE INDEX IF NOT EXISTS undone ON events (undoes);
CREATE VIEW IF NOT EXISTS standing AS
    SELECT * FROM events AS e WHERE e.undoes IS NULL AND NOT EXISTS (
        SELECT 1 FROM events AS undo WHERE undo.undoes = e.id
        AND NOT EXISTS (SELECT 1 FROM events AS redo WHERE redo.undoes = undo.id)
    );
CREATE VIEW IF NOT EXISTS current AS
    SELECT * FROM standing WHERE id IN (SELECT max(id) FROM standing GROUP BY tile);
"""


@dataclass(frozen=True)
class SlideRow:
    """A slide of the project: its file, the µm/px of level 0, and its size there in pixels."""

    name: str
    path: Path
    mpp: float
    width: int
    height: int


@dataclass(frozen=True)
class Tile:
    """A square of a slide that can be labelled; position and side in pixels of level 0.

    A tile for `checks` belongs to the random share that is never trained on.
    """

    id: int
    slide: str
    x: float
    y: float
    side: float
    checks: bool


@dataclass(frozen=True)
class Label:
    """What stands about a tile; `round` is the model whose guess was there to be seen, None before the first."""

    event: int
    tile: int
    verdict: Verdict
    ticks: tuple[str, ...]
    who: str
    time: str
    round: int | None = None


class Event(NamedTuple):
    """A row of what was said, as it is in the database: ticks and guess are JSON."""

    id: int
    time: str
    who: str
    tile: int
    verdict: str
    ticks: str
    guess: str | None
    round: int | None
    reason: str
    seconds: float | None
    undoes: int | None


EVENT = Event._fields[1:]


def tile_of(row: sqlite3.Row) -> Tile:
    """A tile from its row."""
    return Tile(row["id"], row["slide"], row["x"], row["y"], row["side"], bool(row["checks"]))


def label_of(row: sqlite3.Row) -> Label:
    """A label from the row of its event."""
    ticks = tuple(json.loads(row["ticks"]))
    return Label(row["id"], row["tile"], row["verdict"], ticks, row["who"], row["time"], row["round"])


def as_text(value: Any) -> str:
    """As JSON in a row."""
    return json.dumps(value, ensure_ascii=False)
