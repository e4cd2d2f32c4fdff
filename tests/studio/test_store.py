"""Labels are events that are never changed; what stands is a view on them, and nothing that was saved is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from histoproto.errors import DataError, SettingError
from histoproto.studio.records import SlideRow
from histoproto.studio.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "labels.sqlite")
    tiles = [(128.0 * index, 0.0, 128.0, index % 5 == 0) for index in range(10)]
    made.add_slide(SlideRow("a", Path("/slides/a.svs"), 0.5, 1280, 128), tiles)
    return made


def test_the_last_word_stands_and_all_words_are_kept(store: Store) -> None:
    store.say("AB", 1, "label", ["tumour"])
    store.say("AB", 1, "label", ["tumour", "stroma"])
    store.say("CD", 2, "unsure")
    labels = store.labels()
    assert labels[1].ticks == ("stroma", "tumour")
    assert labels[2].verdict == "unsure"
    assert set(labels) == {1, 2}
    assert store.count_events() == 3


def test_undo_and_redo_go_back_and_forth_and_are_events(store: Store) -> None:
    store.say("AB", 1, "label", ["tumour"])
    store.say("AB", 2, "label", ["stroma"])
    store.say("CD", 3, "label", [])
    assert store.undo("AB") == 2
    assert store.undo("AB") == 1
    assert store.undo("AB") is None
    assert set(store.labels()) == {3}
    assert store.redo("AB") == 1
    assert store.redo("AB") == 2
    assert store.redo("AB") is None
    assert store.labels()[2].ticks == ("stroma",)
    assert store.undo("AB") == 2
    store.say("AB", 4, "exclude")
    assert store.redo("AB") is None  # something was said since
    assert set(store.labels()) == {1, 3, 4}
    assert store.count_events() == 9


def test_undoing_a_correction_brings_the_first_label_back(store: Store) -> None:
    store.say("AB", 1, "label", ["tumour"])
    store.say("CD", 1, "label", ["stroma"])
    assert store.undo("CD") == 1
    assert store.labels()[1].ticks == ("tumour",)


def test_each_persons_last_word(store: Store) -> None:
    store.say("AB", 1, "label", ["tumour"])
    store.say("CD", 1, "label", ["stroma"])
    assert {who: labels[1].ticks for who, labels in store.by_person().items()} == {"AB": ("tumour",), "CD": ("stroma",)}


def test_what_another_process_says_is_seen(store: Store) -> None:
    other = Store(store.path)
    store.say("AB", 1, "label", ["tumour"])
    assert other.labels()[1].ticks == ("tumour",)
    other.say("CD", 2, "exclude")
    other.undo("CD")
    store.say("AB", 1, "label", ["stroma"])
    store.undo("AB")
    for one in (store, other):
        assert {tile: label.ticks for tile, label in one.labels().items()} == {1: ("tumour",)}


def test_many_labels_at_once_are_all_there_or_none(store: Store) -> None:
    store.take_over("import", [(1, ["tumour"]), (2, [])], "from a table")
    assert {tile: label.who for tile, label in store.labels().items()} == {1: "import", 2: "import"}
    with pytest.raises(sqlite3.IntegrityError):
        store.take_over("import", [(3, []), (999, [])], "from a table")
    assert set(store.labels()) == {1, 2}


def test_adding_a_slide_again_keeps_its_tiles_and_labels(store: Store) -> None:
    store.say("AB", 1, "label", ["tumour"])
    store.add_slide(SlideRow("a", Path("/moved/a.svs"), 0.5, 1280, 128), [(0.0, 0.0, 128.0, True)])
    assert len(store.tiles()) == 10
    assert store.slides()[0].path == Path("/moved/a.svs")
    assert store.labels()[1].ticks == ("tumour",)


def test_the_tile_at_a_place(store: Store) -> None:
    found = store.tile_at("a", 130, 5)
    assert found is not None
    assert found.id == 2
    assert store.tile_at("a", 128, 0) == found
    assert store.tile_at("a", 130, 128) is None
    assert store.tile_at("b", 130, 5) is None


def test_embeddings_come_back_in_the_order_they_were_given(store: Store) -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float16)
    store.embed([5, 2], vectors[:2])
    store.embed([9], vectors[2:])
    numbers, found = store.embeddings()
    assert numbers.tolist() == [5, 2, 9]
    np.testing.assert_array_equal(found, vectors)
    numbers, found = store.embeddings(after=2)
    assert numbers.tolist() == [9]


def test_a_tile_that_is_none(store: Store) -> None:
    with pytest.raises(SettingError, match="no tile 99"):
        store.say("AB", 99, "label", ["tumour"])
    assert store.count_events() == 0


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    path.write_bytes(b"this is not a database, however long it may be" * 100)
    with pytest.raises(DataError, match="no database of labels"):
        Store(path)
    assert path.read_bytes().startswith(b"this is not")


def test_the_database_syncs_fully(store: Store, tmp_path: Path) -> None:
    assert store._rows("PRAGMA synchronous")[0][0] == 2
    assert store._rows("PRAGMA journal_mode")[0][0] == "wal"
    assert sqlite3.connect(tmp_path / "labels.sqlite").execute("PRAGMA integrity_check").fetchone() == ("ok",)


KILLED = """
import os, sys
from pathlib import Path
from histoproto.studio.store import Store
store = Store(Path(sys.argv[1]))
for number in range(1, 1000):
    store.say("AB", 1 + number % 10, "label", [str(number)])
    print(number, flush=True)
"""


def test_killed_at_any_moment_nothing_that_was_shown_as_saved_is_lost(store: Store, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "labels.sqlite")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = [int(process.stdout.readline()) for _ in range(37)]
        os.kill(process.pid, signal.SIGKILL)
        shown += [int(line) for line in process.stdout.read().split()]
    again = Store(tmp_path / "labels.sqlite")
    assert again.count_events() >= shown[-1]
    assert again.labels()[1 + shown[-1] % 10].ticks >= (str(shown[-1]),)
