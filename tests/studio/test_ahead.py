"""The rest of a slide follows what is looked at: in which order, for whom it waits, when it stops, after a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from histoproto.studio import ahead as ahead_module
from histoproto.studio.ahead import Ahead
from histoproto.studio.mapping import Maps
from histoproto.studio.maps import Piece, Place
from histoproto.studio.open_slides import OpenSlides
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.records import SlideRow

SIDE, BLOCK = 8192, 2048
LEVEL = 10
GLASS = (3, 3)


class Hand:
    """Works blocks out without a network, one when it is let; keeps which."""

    def __init__(self, maps: Maps):
        self.maps = maps
        self.done: list[tuple[int, str, int, int]] = []
        self.let = threading.Semaphore(0)
        self.ended = threading.Event()
        self.begun = threading.Semaphore(0)

    def work_out(self, number: int, slide: str, block: Place) -> str:
        self.ended.clear()
        self.begun.release()
        while not self.let.acquire(timeout=0.01):
            if self.ended.is_set():
                raise InterruptedError("stopped")
        piece = Piece(np.zeros((1024, 1024), np.uint8), np.zeros((2, 1024, 1024), np.uint8))
        self.maps.of(number, slide).keep(block, piece)
        self.done.append((number, slide, block.column, block.row))
        return ""

    def stop(self) -> None:
        self.ended.set()


class Scene:
    """A project of two slides of 4×4 blocks, all but one with tissue, and who follows."""

    def __init__(self, folder: Path):
        self.project = Project.create(folder, ProjectSettings.of(["tumour", "stroma"], mpp=0.5, tile=128))
        places = [(x * BLOCK + 100.0, y * BLOCK + 100.0) for x in range(4) for y in range(4) if (x, y) != GLASS]
        for name in ("a", "b"):
            row = SlideRow(name, folder / f"{name}.tif", 0.25, SIDE, SIDE)
            self.project.store.add_slide(row, [(x, y, 256.0, False) for x, y in places])
        self.newest, self.paused = 3, False
        self.all: list[Ahead] = []
        self.again()

    def again(self) -> None:
        """As after a restart."""
        self.maps = Maps(self.project, OpenSlides(self.project))
        self.hand = Hand(self.maps)
        self.ahead = Ahead(self.maps, self.hand, lambda: self.newest, lambda: self.paused)
        self.all.append(self.ahead)

    def look(self, column: int, row: int, level: int = LEVEL, slide: str = "a", number: int = 3) -> None:
        self.ahead.look(number, slide, Place(level, column, row))

    def work(self, count: int) -> list[tuple[int, int]]:
        """Let so many blocks be worked out; which these were."""
        before = len(self.hand.done)
        for _ in range(count):
            self.hand.let.release()
        wait(lambda: len(self.hand.done) >= before + count)
        return [(column, row) for _, _, column, row in self.hand.done[before:]]

    def state(self, key: str) -> object:
        return (self.ahead.state() or {})[key]


def wait(there: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not there():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path / "project")
    yield made
    for one in made.all:
        one.stop()


def test_the_nearest_block_is_next_and_all_with_tissue_are_done_in_the_end(scene: Scene) -> None:
    assert scene.ahead.state() is None
    scene.look(5, 9, level=LEVEL + 2)  # a sixteenth of block 1, 2
    assert scene.work(1) == [(1, 2)]
    assert set(scene.work(4)) == {(0, 2), (1, 1), (1, 3), (2, 2)}
    wait(lambda: (scene.state("done"), scene.state("of")) == (5, 15))
    for _ in range(ahead_module.RECENT):
        scene.look(0, 0, level=LEVEL + 1)  # somebody has gone to the upper left corner
    in_hand = scene.work(1)  # chosen before
    assert {(0, 0), (0, 1), (1, 0)} <= {*in_hand, *scene.work(3)}
    left = scene.work(6)
    assert len(set(left)) == 6
    assert GLASS not in left
    wait(lambda: scene.state("done") == 15)
    assert scene.state("left") == 0
    wait(scene.hand.ended.is_set)  # the process is not kept for nothing


def test_from_afar_it_begins_in_the_middle_of_what_is_seen(scene: Scene) -> None:
    scene.paused = True
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        scene.look(column, row, level=LEVEL - 1)
    scene.paused = False
    assert set(scene.work(4)) == {(1, 1), (1, 2), (2, 1), (2, 2)}


def test_it_waits_while_a_round_is_learnt(scene: Scene) -> None:
    scene.paused = True
    scene.look(0, 0)
    wait(lambda: scene.state("waits") is True)
    assert not scene.hand.begun.acquire(timeout=0.3)
    scene.paused = False
    assert scene.work(1) == [(0, 0)]
    scene.paused = True
    scene.work(1)  # that in hand is finished, no other one begins
    wait(lambda: scene.state("waits") is True)
    scene.hand.let.release()
    time.sleep(0.3)
    assert len(scene.hand.done) == 2


def test_pieces_on_the_screen_come_first(scene: Scene) -> None:
    with scene.maps._at_once():  # somebody waits for the network
        scene.look(0, 0)
        assert not scene.hand.begun.acquire(timeout=0.3)
    assert scene.hand.begun.acquire(timeout=5)
    scene.look(1, 1)
    scene.maps.of(3, "a").keep(Place(LEVEL, 1, 0), Piece(np.zeros((8, 8), np.uint8), np.zeros((2, 8, 8), np.uint8)))
    assert (1, 0) not in scene.work(14)  # worked out for the screen meanwhile
    wait(lambda: scene.state("done") == 15)


def test_a_newer_round_ends_it_until_somebody_looks_at_that(scene: Scene) -> None:
    scene.look(0, 0)
    scene.work(2)
    scene.newest = 4
    scene.hand.let.release()  # in hand
    wait(scene.hand.ended.is_set)
    scene.look(2, 2)  # at the old map: nothing
    time.sleep(0.2)
    assert [number for number, *_ in scene.hand.done] == [3, 3, 3]
    scene.look(2, 2, number=4)
    assert scene.work(1) == [(2, 2)]
    assert scene.hand.done[-1][:2] == (4, "a")


def test_another_slide_takes_its_place_and_what_was_done_stays_done(scene: Scene) -> None:
    scene.look(0, 0)
    scene.work(2)
    scene.look(3, 0, slide="b")
    scene.work(1)  # that in hand
    assert scene.work(1) == [(3, 0)]
    assert scene.hand.done[-1][1] == "b"
    wait(lambda: (scene.state("slide"), scene.state("done")) == ("b", 1))
    scene.look(0, 0)
    assert (scene.state("slide"), scene.state("done")) == ("a", 3)


def test_it_stops_at_once_and_a_restart_works_nothing_out_again(scene: Scene) -> None:
    scene.look(0, 0)
    first = scene.work(6)
    assert scene.hand.begun.acquire(timeout=5)
    begun = time.monotonic()
    scene.ahead.stop()
    assert time.monotonic() - begun < 1
    scene.look(0, 0)  # somebody's last request: nothing begins anew
    time.sleep(0.1)
    assert len(scene.hand.done) == 6
    scene.again()
    scene.look(0, 0)
    assert scene.state("done") == 6
    assert not set(first) & set(scene.work(9))


def test_only_the_last_two_rounds_keep_their_pieces(scene: Scene) -> None:
    def kept() -> list[str]:
        return sorted(path.parents[2].name for path in scene.project.folder.glob("rounds/*/pieces/maps/a"))

    for number in range(1, 5):
        folder = scene.project.folder / "rounds" / f"{number:04d}"
        folder.mkdir(parents=True)
        np.savez(folder / "guesses.npz", tiles=[1], chances=np.zeros((1, 2), np.float32))
        (folder / "score.json").write_text('{"labels": 8, "checks": 0, "tissues": ["tumour", "stroma"]}')
        piece = Piece(np.zeros((8, 8), np.uint8), np.zeros((2, 8, 8), np.uint8))
        scene.maps.of(number, "a").keep(Place(LEVEL, 0, 0), piece)
    assert kept() == ["0001", "0002", "0003", "0004"]
    scene.newest = 4
    scene.look(1, 1, number=4)
    assert kept() == ["0003", "0004"]


def test_what_goes_wrong_is_told_and_the_rest_goes_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def fails_once(*_: object) -> str:
        said.append("" if said else "the slide is damaged there")
        return said[-1]

    monkeypatch.setattr(scene.hand, "work_out", fails_once)
    scene.look(0, 0)
    wait(lambda: len(said) == 15)
    assert scene.state("problem") == "the slide is damaged there"


def test_a_process_that_ends_by_itself_is_told_and_begun_again_by_the_next_look(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Place] = []

    def dies(number: int, slide: str, block: Place) -> str:
        begun.append(block)
        raise InterruptedError("the process that works out maps ended")

    monkeypatch.setattr(scene.hand, "work_out", dies)
    scene.look(0, 0)
    wait(lambda: "ended" in str(scene.state("problem")))
    assert scene.state("done") == 0
    time.sleep(0.2)
    assert len(begun) == 1
    scene.look(1, 1)
    wait(lambda: len(begun) == 2)


def test_the_disk_is_not_filled(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead_module, "ROOM", 2**80)
    scene.look(0, 0)
    wait(lambda: "free on the disk" in str(scene.state("problem")))
    assert not scene.hand.begun.acquire(timeout=0.2)
