"""Work beside the page: embeddings of tiles in a thread, rounds of learning in a process."""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from histoproto.errors import HistoProtoError, sentence
from histoproto.studio.processes import begin, logged
from histoproto.studio.project import Project
from histoproto.studio.records import Tile

POOL = 4000
"""Tiles that are looked at, at most; spread evenly over the slides."""
EARLY = 32
"""Tiles of each slide that are looked at while tissue is still looked for on others."""
BATCH = 16


def pool_order(tiles: Sequence[Tile], seed: int = 0, each: int | None = None) -> list[Tile]:
    """Tiles in the order in which they are looked at: each slide in turn, at random within it; at most `POOL`.

    Args:
        tiles: all there are.
        seed: of the draw.
        each: at most so many of each slide; None: no matter.
    """
    rng = np.random.default_rng(seed)
    by_slide: dict[str, list[Tile]] = {}
    for tile in tiles:
        by_slide.setdefault(tile.slide, []).append(tile)
    shuffled = [[members[i] for i in rng.permutation(len(members))] for members in by_slide.values()]
    turns = min(max(map(len, shuffled), default=0), POOL if each is None else each)
    return [members[turn] for turn in range(turns) for members in shuffled if turn < len(members)][:POOL]


class Embedder:
    """A thread that gives tiles their embeddings (mean of the last feature map of the default encoder, frozen).

    Args:
        project: whose tiles.
        without: which slides are left out now.
        more: whether there are slides to come.
    """

    def __init__(
        self,
        project: Project,
        without: Callable[[], frozenset[str]] = frozenset,
        more: Callable[[], bool] = lambda: False,
    ):
        self.project, self.without, self.more = project, without, more
        self._order: list[Tile] = []
        self._known: set[int] = set()
        self._ordered: tuple[int, bool, frozenset[str]] | None = None
        self.done, self.total, self.problem = 0, 0, ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="embedder", daemon=True)

    def start(self) -> None:
        """Begin; tiles that have an embedding are left as they are."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def wait(self) -> None:
        """Until it is done, if it was begun."""
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def working(self) -> bool:
        """Whether it is still at it."""
        return self._thread.is_alive()

    def _work(self) -> None:
        try:
            encoder: Any = None
            while not self._stop.is_set():
                more = self.more()
                batch = self._open(more)[:BATCH]
                if batch:
                    encoder = encoder or self._encoder()
                    self._look(encoder, batch)
                elif not more:
                    return
                else:
                    self._stop.wait(0.5)
        except HistoProtoError as error:
            self.problem = f"tiles can no longer be looked at: {sentence(error)}"
        except Exception as error:  # told on the page, whatever it is; nobody else would hear of it
            self.problem = f"tiles can no longer be looked at: {type(error).__name__}: {error}"

    def _open(self, more: bool) -> list[Tile]:
        """The tiles that are still to be looked at, in order."""
        without = self.without()
        tiles = self.project.store.tiles()
        if self._ordered != (asked := (len(tiles), more, without)):
            there = [tile for tile in tiles.values() if tile.slide not in without]
            self._order = pool_order(there, self.project.settings.seed, EARLY if more else None)
            self._known = set(self.project.store.embeddings()[0].tolist())
            self._ordered = asked
        found = [tile for tile in self._order if tile.id not in self._known]
        self.total, self.done = len(self._order), len(self._order) - len(found)
        return found

    def _encoder(self) -> Any:
        from histoproto.studio.features import stored_encoder  # torch takes seconds, for which no tile shall wait

        return stored_encoder(self.project)

    def _look(self, encoder: Any, batch: Sequence[Tile]) -> None:
        import torch

        from histoproto.features.views import digest
        from histoproto.inference.patches import as_batch
        from histoproto.studio.looks import look_at

        pixels = np.stack([self.project.read_tile(tile) for tile in batch])
        with torch.inference_mode():
            vectors = encoder(as_batch(pixels, torch.device("cpu")))[-1].mean(dim=(2, 3)).half().numpy()
        looks = {tile.id: look_at(own) for tile, own in zip(batch, pixels, strict=True)}
        digests = {tile.id: digest(own) for tile, own in zip(batch, pixels, strict=True)}
        self.project.store.embed([tile.id for tile in batch], vectors, looks, digests)
        self._known |= looks.keys()


class Learner:
    """Rounds of learning, one at a time, in a process of its own that can be stopped and that waits for the next."""

    def __init__(self, project: Project, finished: Callable[[int], None] = lambda _: None):
        self.project, self.finished = project, finished
        self.doing, self.part, self.whole, self.problem = "", 0, 0, ""
        self.started, self.took = 0.0, 0.0  # seconds: when this round was begun, and how long the last one lasted
        self.working = False
        """Whether a round is being learnt."""
        self._lock = threading.Lock()
        self._process: Any = None
        self._orders: Any = None

    def start(self, switched: tuple[int, int, bool] | None = None) -> bool:
        """Begin a round unless one is under way; whether it was begun.

        Args:
            switched: make it by switching a prototype off or on: tissue, number, whether off. None: train.
        """
        with self._lock:
            if self.working:
                return False
            self._ready()
            self.doing, self.part, self.whole, self.problem = "starting", 0, 1, ""
            self.started, self.working = time.monotonic(), True
            self._orders.send(("switch", *switched) if switched else ("learn",))
            return True

    def warm(self) -> None:
        """Have the process loaded, so that the next round need not wait for that."""
        with self._lock:
            self._ready()

    def _ready(self) -> None:
        if self._process is not None and self._process.is_alive():
            return
        self._process, self._orders = begin(_rounds, self.project.folder)
        threading.Thread(target=self._listen, args=(self._orders, self._process), daemon=True).start()

    def stop(self) -> None:
        """End the round under way, of which nothing is kept, and the process."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.join()
                self._process = None
            if self.working:
                self.working, self.doing, self.problem = False, "", "stopped"

    def _listen(self, connection: Connection, process: Any) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                message = connection.recv()
                if self._process is not process:  # it was stopped
                    continue
                if message[0] == "done":
                    try:
                        self.finished(message[1])
                    except Exception as error:  # told, and the next round is listened to
                        self.problem = f"round {message[1]} cannot be used: {error}"
                    self.took = time.monotonic() - self.started
                    self.working, self.doing = False, ""
                elif message[0] == "problem":
                    self.problem, self.working, self.doing = message[1], False, ""
                else:
                    self.doing, self.part, self.whole = message
        process.join()
        with self._lock:
            if self._process is process and self.working:
                self.working, self.doing = False, ""
                self.problem = (
                    f"learning ended without a result (exit code {process.exitcode}); logs/learning.log of the project "
                    "says more"
                )


def _rounds(folder: Path, connection: Connection) -> None:
    with contextlib.suppress(EOFError), logged(folder, "learning.log") as log:  # until the server has ended
        importlib.import_module("histoproto.studio.learning")  # seconds: torch and Lightning, not for the server
        while order := connection.recv():
            log.seek(0)
            log.truncate()
            project = Project.open(folder)
            try:
                connection.send(("done", _round(project, order, lambda *message: connection.send(message))))
            except HistoProtoError as error:
                connection.send(("problem", sentence(error)))
            finally:
                project.store.close()


def _round(project: Project, order: tuple[Any, ...], told: Callable[[str, int, int], None]) -> int:
    from histoproto.studio.learning import learn  # not for the server, see `_rounds`
    from histoproto.studio.switching import switch

    if order[0] == "learn":
        return learn(project, told)
    _, tissue, prototype, off = order
    return switch(project, tissue, prototype, off, told)
