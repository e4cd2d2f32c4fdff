"""The rest of a slide follows: blocks of its map that nobody has looked at are worked out, the nearest first."""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from statistics import median_low
from typing import Any, Protocol

from histoproto.studio.mapping import Maps
from histoproto.studio.maps import Place

RECENT = 12
"""Pieces that were asked for last: their middle is where somebody looks."""
TIMED = 16
"""Blocks whose time tells how long the others will take."""
PAUSE = 0.1
"""Seconds after which it is asked again whether the way is free."""
ROOM = 2**30
"""Bytes that stay free on the disk, for labels and rounds."""


class Worker(Protocol):
    """Works blocks out."""

    def work_out(self, number: int, slide: str, block: Place) -> str:
        """Work a block of a map out and keep it; what went wrong with it, or "".

        Raises:
            InterruptedError: it was stopped meanwhile, or has ended by itself.
        """

    def stop(self) -> None:
        """End at once; another block may be asked for later."""


class Ahead:
    """A thread that goes on with the map of the last round on the slide that somebody looked at.

    Only blocks with tissue are worked out. Finer pieces are cut from them and coarser ones put together of them (see
    `SlideMap`), so the whole map is there when they are, at every level. It stops when there is a newer round.

    Args:
        maps: what is worked out already, and whether somebody waits for the network.
        worker: works blocks out.
        newest: the last round.
        pause: whether something goes on that shall not become slower.
    """

    def __init__(
        self, maps: Maps, worker: Worker, newest: Callable[[], int], pause: Callable[[], bool] = lambda: False
    ):
        self.maps, self.worker, self.newest, self.pause = maps, worker, newest, pause
        self.problem = ""
        self._slide: tuple[int, str] | None = None  # and the round: what is gone on with
        self._open: set[Place] = set()
        self._all = 0
        self._looked: deque[tuple[float, float]] = deque(maxlen=RECENT)  # in sides of a block
        self._seconds: deque[float] = deque(maxlen=TIMED)
        self._waits = False
        self._lock, self._woken, self._stopped = threading.Lock(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def look(self, number: int, slide: str, place: Place) -> None:
        """Somebody looks at a piece of a map."""
        map_ = self.maps.of(number, slide)
        if number != self.newest() or map_.level is None or self._stopped.is_set():
            return
        times = 2.0 ** (map_.level - place.level)
        with self._lock:
            if self._slide != (number, slide):
                self._begin(number, slide)
            self._looked.append(((place.column + 0.5) * times, (place.row + 0.5) * times))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ahead", daemon=True)
                self._thread.start()
        self._woken.set()

    def state(self) -> dict[str, Any] | None:
        """Which map is gone on with, blocks done and in all, seconds left as far as they are known, and whether it
        waits for something else; None: nobody has looked at a map.
        """
        with self._lock:
            if self._slide is None:
                return None
            timed = len(self._seconds) > 1  # the first one waited for libraries and a model
            left = round(median_low(self._seconds) * len(self._open)) if timed else None
            return {
                "round": self._slide[0],
                "slide": self._slide[1],
                "done": self._all - len(self._open),
                "of": self._all,
                "left": left,
                "waits": self._waits and bool(self._open),
                "problem": self.problem,
            }

    def stop(self) -> None:
        """End at once."""
        self._stopped.set()
        self._woken.set()
        self.worker.stop()
        while self._thread and self._thread.is_alive():  # it may have been about to ask for a block
            self._thread.join(PAUSE)
            self.worker.stop()

    def _begin(self, number: int, slide: str) -> None:
        map_ = self.maps.of(number, slide)
        if self._slide is None or self._slide[0] != number:
            self.maps.forget(before=number - 1)
        self._slide, self.problem = (number, slide), ""
        self._open = {block for block in map_.blocks if not map_.is_done(block)}
        self._all = len(map_.blocks)
        self._looked.clear()

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._woken.clear()
            if (found := self._next()) is None:
                self.worker.stop()  # its memory is free until somebody looks at another map
                self._woken.wait()
                continue
            self._waits = self.pause()
            if self._waits or self.maps.asked:
                self._stopped.wait(PAUSE)
                continue
            number, slide, block = found
            begun = time.monotonic()
            try:
                problem = self.worker.work_out(number, slide, block)
            except InterruptedError as error:
                with self._lock:
                    self.problem = str(error)
                    self._looked.clear()  # until somebody looks again
                continue
            with self._lock:
                self._seconds.append(time.monotonic() - begun)
                self.problem = problem or self.problem
                if self._slide == (number, slide):
                    self._open.discard(block)

    def _next(self) -> tuple[int, str, Place] | None:
        """The round, the slide and its open block that is nearest to what was looked at."""
        with self._lock:
            if self._slide is None or self._slide[0] != self.newest() or not self._looked:
                return None
            map_ = self.maps.of(*self._slide)
            x, y = (sum(ones) / len(self._looked) for ones in zip(*self._looked, strict=True))
            while self._open:
                block = min(self._open, key=lambda one: ((one.column + 0.5 - x) ** 2 + (one.row + 0.5 - y) ** 2, one))
                if not map_.is_done(block):  # or else somebody looked at it meanwhile
                    break
                self._open.discard(block)
            if not self._open:
                return None
            if shutil.disk_usage(self.maps.project.folder).free < ROOM:
                self.problem = "the map of the slide is not gone on with, for less than 1 GiB is free on the disk"
                return None
            return *self._slide, block
