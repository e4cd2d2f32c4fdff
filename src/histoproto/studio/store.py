"""What people said about tiles: events in SQLite, added and never changed; the current labels are a view on them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoproto.errors import DataError, OutputError, SettingError
from histoproto.studio.records import EVENT, SCHEMA, Event, Label, SlideRow, Tile, Verdict, as_text, label_of, tile_of


class Store:
    """The database of a project. Threads may share it; what a call has returned from is on the disk.

    Raises:
        DataError: the file is no such database.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.RLock()
        self._tiles: dict[int, Tile] = {}
        self._labels: dict[int, Label] = {}
        self._seen = 0
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.row_factory = sqlite3.Row
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._database.execute(f"PRAGMA {pragma}")
            self._database.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise _told(error, path) from error

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield self._database
                self._database.execute("COMMIT")
            except sqlite3.IntegrityError:
                self._database.execute("ROLLBACK")
                raise
            except sqlite3.DatabaseError as error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise _told(error, self.path) from error
            except BaseException:
                self._database.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def add_slide(self, slide: SlideRow, tiles: Sequence[tuple[float, float, float, bool]]) -> None:
        """Add a slide with its tiles, as x, y, side and whether it is for checks; tiles that are there stay."""
        with self._writing() as database:
            database.execute(
                "INSERT INTO slides VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET path = excluded.path",
                (slide.name, str(slide.path), slide.mpp, slide.width, slide.height),
            )
            database.executemany(
                "INSERT INTO tiles (slide, x, y, side, checks) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [(slide.name, x, y, side, int(checks)) for x, y, side, checks in tiles],
            )

    def slides(self) -> list[SlideRow]:
        """All slides, in the order they came."""
        rows = self._rows("SELECT * FROM slides ORDER BY rowid")
        return [SlideRow(row["name"], Path(row["path"]), row["mpp"], row["width"], row["height"]) for row in rows]

    def tiles(self) -> dict[int, Tile]:
        """All tiles by number, in order; kept, for a project may have a hundred thousand and they never change."""
        with self._lock:
            new = self._rows("SELECT * FROM tiles WHERE id > ? ORDER BY id", max(self._tiles, default=0))
            if new:
                self._tiles = {**self._tiles, **{row["id"]: tile_of(row) for row in new}}
            return self._tiles

    def tile_at(self, slide: str, x: float, y: float) -> Tile | None:
        """The tile that covers a place of a slide, in pixels of level 0; the last of several, None where none does."""
        found = self._rows(
            "SELECT * FROM tiles WHERE slide = ? AND x <= ? AND y <= ? AND ? < x + side AND ? < y + side "
            "ORDER BY id DESC LIMIT 1",
            *(slide, x, y, x, y),
        )
        return tile_of(found[0]) if found else None

    def tile(self, number: int) -> Tile:
        """One tile.

        Raises:
            SettingError: there is none of that number.
        """
        rows = self._rows("SELECT * FROM tiles WHERE id = ?", number)
        if not rows:
            raise SettingError(f"there is no tile {number} in this project")
        return tile_of(rows[0])

    def embed(
        self,
        tiles: Sequence[int],
        vectors: NDArray[np.float16],
        looks: Mapping[int, Sequence[float]] | None = None,
        digests: Mapping[int, bytes] | None = None,
    ) -> None:
        """Keep the embeddings of tiles, N×D; how they look: share of tissue, of ink, and sharpness, by tile; and the
        names of their features, by tile.
        """
        rows = [(tile, vector.tobytes()) for tile, vector in zip(tiles, vectors.astype(np.float16), strict=True)]
        with self._writing() as database:
            database.executemany("INSERT INTO embeddings (tile, vector) VALUES (?, ?) ON CONFLICT DO NOTHING", rows)
            database.executemany(
                "INSERT INTO looks VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [(tile, *look) for tile, look in (looks or {}).items()],
            )
            database.executemany("INSERT INTO digests VALUES (?, ?) ON CONFLICT DO NOTHING", (digests or {}).items())

    def digests(self) -> dict[int, bytes]:
        """The names of the features of tiles, by tile, as `embed` was told."""
        return {row["tile"]: row["digest"] for row in self._rows("SELECT * FROM digests")}

    def looks(self) -> dict[int, tuple[float, float, float]]:
        """How tiles look, by tile, as `embed` was told."""
        return {row["tile"]: tuple(row)[1:] for row in self._rows("SELECT * FROM looks")}

    def embeddings(self, after: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """The tiles that have an embedding, in the order they got it from the `after`-th on, N, and these, N×D."""
        rows = self._rows("SELECT tile, vector FROM embeddings ORDER BY id LIMIT -1 OFFSET ?", after)
        if not rows:
            return np.empty(0, np.int64), np.empty((0, 0), np.float16)
        vectors = np.stack([np.frombuffer(row["vector"], np.float16) for row in rows])
        return np.array([row["tile"] for row in rows], np.int64), vectors

    def say(
        self,
        who: str,
        tile: int,
        verdict: Verdict,
        ticks: Sequence[str] = (),
        *,
        guess: dict[str, float] | None = None,
        round: int | None = None,
        reason: str = "",
        seconds: float | None = None,
    ) -> int:
        """Record what somebody says of a tile; the number of the event.

        Args:
            who: initials.
            tile: its number.
            verdict: see `Verdict`.
            ticks: the tissues that are in it; only with `label`.
            guess: what the model had said: chance of each tissue.
            round: of the model that had said it.
            reason: why the tile was asked for.
            seconds: how long it was looked at.
        """
        self.tile(tile)
        with self._writing() as database:
            marks, said = as_text(sorted(set(ticks))), guess and as_text(guess)
            return self._add(database, who, tile, verdict, marks, said, round, reason, seconds, None)

    def take_over(self, who: str, labels: Sequence[tuple[int, Sequence[str]]], reason: str) -> None:
        """Record many labels at once, as tile and ticks; all of them or none."""
        with self._writing() as database:
            for tile, ticks in labels:
                self._add(database, who, tile, "label", as_text(sorted(set(ticks))), None, None, reason, None, None)

    @staticmethod
    def _add(database: sqlite3.Connection, *values: Any) -> int:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        return _insert(database, (time, *values))

    def events(self) -> list[Event]:
        """All that was ever said, in the order in which it was."""
        return [Event(*row) for row in self._rows(f"SELECT id, {', '.join(EVENT)} FROM events ORDER BY id")]

    def copy_events(self, events: Sequence[Event]) -> None:
        """Take events of other projects over as they are, all of them or none.

        Their tiles are of this project; what they undo is among them, and comes first.
        """
        with self._writing() as database:
            numbers: dict[int, int] = {}
            for event in events:
                undone = None if event.undoes is None else numbers[event.undoes]
                numbers[event.id] = _insert(database, (*event[1:-1], undone))

    def undo(self, who: str) -> int | None:
        """Take back the last thing that this person said and that still stands; its tile, or None."""
        rows = self._rows("SELECT * FROM standing WHERE who = ? ORDER BY id DESC LIMIT 1", who)
        return self._reverse(who, rows)

    def redo(self, who: str) -> int | None:
        """Say again what this person took back last, unless something was said since; its tile, or None."""
        events = self._rows("SELECT * FROM events WHERE who = ? ORDER BY id DESC", who)
        reversals = {row["id"] for row in events if row["undoes"] is not None}
        reversed_ = {row["undoes"] for row in events}
        for row in events:
            if row["undoes"] is None:
                return None
            if row["undoes"] not in reversals and row["id"] not in reversed_:  # an undo that was not redone
                return self._reverse(who, [row])
        return None

    def _reverse(self, who: str, rows: list[sqlite3.Row]) -> int | None:
        if not rows:
            return None
        row = rows[0]
        with self._writing() as database:
            self._add(database, who, row["tile"], row["verdict"], "[]", None, None, "", None, row["id"])
        return int(row["tile"])

    def labels(self) -> dict[int, Label]:
        """What stands about each tile that something was said of, by tile; kept, and brought up to date each time."""
        with self._lock:
            new = self._rows("SELECT id, tile FROM events WHERE id > ? ORDER BY id", self._seen)
            if new:
                changed = {row["tile"]: self._standing(row["tile"]) for row in new}
                merged = {**self._labels, **changed}
                self._labels = {tile: label for tile, label in merged.items() if label is not None}
                self._seen = new[-1]["id"]
            return self._labels

    def _standing(self, tile: int) -> Label | None:
        rows = self._rows("SELECT * FROM standing WHERE tile = ? ORDER BY id DESC LIMIT 1", tile)
        return label_of(rows[0]) if rows else None

    def by_person(self) -> dict[str, dict[int, Label]]:
        """What each person said last of each tile: for agreement between people."""
        rows = self._rows("SELECT * FROM standing ORDER BY id")
        found: dict[str, dict[int, Label]] = {}
        for row in rows:
            found.setdefault(row["who"], {})[row["tile"]] = label_of(row)
        return found

    def know_tissues(self, names: Sequence[str]) -> dict[str, int]:
        """Note the tissues that can be ticked from now on; of each, the labels that are older than it.

        Raises:
            SettingError: a label that stands names another one.
        """
        ticked = self._rows("SELECT DISTINCT value FROM standing, json_each(ticks)")
        for (tissue,) in ticked:
            if tissue not in names:
                raise SettingError(
                    f"labels in {self.path} name the tissue {tissue!r}, which is not among those of the project "
                    f"({', '.join(names)}); give it this name again in project.yaml"
                )
        known = {row["name"]: row["after"] for row in self._rows("SELECT * FROM tissues")}
        last = int(self._rows("SELECT coalesce(max(id), 0) FROM events")[0][0]) if known else 0
        if set(names) - known.keys():
            with self._writing() as database:
                database.executemany(
                    "INSERT INTO tissues VALUES (?, ?) ON CONFLICT DO NOTHING", [(n, last) for n in names]
                )
        labels = [label for label in self.labels().values() if label.verdict == "label"]
        return {name: sum(label.event <= known.get(name, last) for label in labels) for name in names}

    def count_events(self) -> int:
        """How much was ever said."""
        return int(self._rows("SELECT count(*) FROM events")[0][0])


def _insert(database: sqlite3.Connection, values: Sequence[Any]) -> int:
    marks = ", ".join("?" * len(EVENT))
    done = database.execute(f"INSERT INTO events ({', '.join(EVENT)}) VALUES ({marks})", tuple(values))
    return int(done.lastrowid or 0)


def _told(error: sqlite3.DatabaseError, path: Path) -> DataError | OutputError:
    if isinstance(error, sqlite3.OperationalError):
        return OutputError(f"the labels {path} cannot be opened or written: {error}")
    return DataError(f"{path} is no database of labels ({error}); restore it from a copy")
