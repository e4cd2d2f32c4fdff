"""Work beside the page: embeddings of tiles in a thread, rounds of learning in a process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from histoproto.errors import HistoProtoError, sentence
from histoproto.features.place import VARIABLE
from histoproto.inference.patches import as_batch
from histoproto.model.encoders import build_encoder
from histoproto.model.weights import OFFLINE_ENCODER
from histoproto.studio.learning import learn
from histoproto.studio.project import Project
from histoproto.studio.store import Tile

POOL = 4000
"""Tiles that are looked at, at most; spread evenly over the slides."""
BATCH = 16


def pool_order(tiles: Sequence[Tile], seed: int = 0) -> list[Tile]:
    """Tiles in the order in which they are looked at: each slide in turn, at random within it; at most `POOL`."""
    rng = np.random.default_rng(seed)
    by_slide: dict[str, list[Tile]] = {}
    for tile in tiles:
        by_slide.setdefault(tile.slide, []).append(tile)
    shuffled = [[members[i] for i in rng.permutation(len(members))] for members in by_slide.values()]
    turns = max(map(len, shuffled), default=0)
    return [members[turn] for turn in range(turns) for members in shuffled if turn < len(members)][:POOL]


class Embedder:
    """A thread that gives tiles their embeddings (mean of the last feature map of the default encoder, frozen)."""

    def __init__(self, project: Project):
        self.project = project
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

    @property
    def working(self) -> bool:
        """Whether it is still at it."""
        return self._thread.is_alive()

    def _work(self) -> None:
        try:
            order = pool_order(list(self.project.store.tiles().values()), self.project.settings.seed)
            known = set(self.project.store.embeddings()[0].tolist())
            open_ = [tile for tile in order if tile.id not in known]
            self.total, self.done = len(order), len(order) - len(open_)
            if not open_:
                return
            encoder = build_encoder(OFFLINE_ENCODER).eval()
            for start in range(0, len(open_), BATCH):
                if self._stop.is_set():
                    return
                batch = open_[start : start + BATCH]
                pixels = np.stack([self.project.read_tile(tile) for tile in batch])
                with torch.inference_mode():
                    vectors = encoder(as_batch(pixels, torch.device("cpu")))[-1].mean(dim=(2, 3)).half().numpy()
                self.project.store.embed([tile.id for tile in batch], vectors)
                self.done += len(batch)
        except HistoProtoError as error:
            self.problem = sentence(error)


class Learner:
    """Rounds of learning, one at a time, each in a process of its own that can be stopped."""

    def __init__(self, project: Project, finished: Callable[[int], None] = lambda _: None):
        self.project, self.finished = project, finished
        self.doing, self.part, self.whole, self.problem = "", 0, 0, ""
        self.started = 0.0
        self._lock = threading.Lock()
        self._process: Any = None

    @property
    def working(self) -> bool:
        """Whether a round is being learnt."""
        process = self._process
        return process is not None and process.is_alive()

    def start(self) -> bool:
        """Begin a round unless one is under way; whether it was begun."""
        with self._lock:
            if self.working:
                return False
            context = get_context("spawn")
            ours, theirs = context.Pipe(duplex=False)
            self._process = context.Process(target=_learn, args=(self.project.folder, theirs), daemon=True)
            self.doing, self.part, self.whole, self.problem = "starting", 0, 1, ""
            self.started = time.monotonic()
            self._process.start()
            theirs.close()
            threading.Thread(target=self._listen, args=(ours, self._process), name="learner", daemon=True).start()
            return True

    def stop(self) -> None:
        """End the round under way; nothing of it is kept."""
        with self._lock:
            if self.working:
                self._process.kill()
                self._process.join()
                self.problem = "stopped"

    def _listen(self, connection: Connection, process: Any) -> None:
        result: int | None = None
        with contextlib.suppress(EOFError, OSError):
            while True:
                message = connection.recv()
                if message[0] == "done":
                    result = message[1]
                elif message[0] == "problem":
                    self.problem = message[1]
                else:
                    self.doing, self.part, self.whole = message
        process.join()
        self.doing = ""
        if result is not None:
            self.finished(result)
        elif not self.problem:
            self.problem = f"learning ended without a result (exit code {process.exitcode})"


def _learn(folder: Path, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server answers Ctrl-C
    os.environ.setdefault(VARIABLE, str(folder))  # features stay with the project
    (folder / "logs").mkdir(exist_ok=True)
    with (
        (folder / "logs" / "learning.log").open("w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        try:
            project = Project.open(folder)
            connection.send(("done", learn(project, lambda *message: connection.send(message))))
        except HistoProtoError as error:
            connection.send(("problem", sentence(error)))
