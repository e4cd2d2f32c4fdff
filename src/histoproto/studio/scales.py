"""Slides of which nobody knows yet how many µm a pixel is wide: found, kept, and asked of a person, never guessed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from histoproto.data.scale import PLAUSIBLE_MPP
from histoproto.documents.shapes import read_json_as
from histoproto.errors import HistoProtoError, SettingError
from histoproto.files import replace_atomically
from histoproto.slides.many.tasks import name_slides
from histoproto.slides.reading.opening import open_slide, unsaid
from histoproto.slides.reading.protocol import SlideReader
from histoproto.slides.task import SlideTask

WAITING_FILE = "waiting.json"


@dataclass(frozen=True)
class Waiting:
    """A slide that waits for its µm/px.

    Attributes:
        name: under which it will be in the project.
        path: its file.
        width, height: in pixels of level 0.
        hint: what its file says instead, such as the power of its objective; "": nothing.
        mpp: µm/px of level 0, as a person has said meanwhile; the slide is still to be added.
        regions: see `SlideTask`.
    """

    name: str
    path: Path
    width: int
    height: int
    hint: str = ""
    mpp: float | None = None
    regions: Path | None = None

    @classmethod
    def of(cls, name: str, task: SlideTask, reader: SlideReader) -> Waiting:
        """A slide that is open."""
        path, regions = task.path.resolve(), task.regions and task.regions.resolve()
        return cls(name, path, reader.width, reader.height, unsaid(reader), None, regions)

    @property
    def task(self) -> SlideTask:
        """To be added."""
        return SlideTask(self.path, self.mpp, self.regions)


class Scales:
    """The slides of a project that wait, in `waiting.json`, so that they are asked for again after a restart.

    Threads may share it.
    """

    def __init__(self, folder: Path):
        self.path = folder / WAITING_FILE
        self._lock = threading.Lock()
        self._waiting: dict[str, Waiting] = {}
        with suppress(HistoProtoError):  # damaged: its slides are named again by whoever starts with them
            if self.path.is_file():
                self._waiting = {one.name: one for one in read_json_as(self.path, list[Waiting])}

    def all(self) -> list[Waiting]:
        """Those that wait, said or not, in the order they came."""
        return list(self._waiting.values())

    def unsaid(self) -> list[Waiting]:
        """Those that a person is to be asked about: nothing was said, and their file is there."""
        return [one for one in self.all() if one.mpp is None and one.path.exists()]

    def keep(self, slides: Sequence[Waiting]) -> None:
        """Let slides wait."""
        self._write({one.name: one for one in slides}, ())

    def drop(self, name: str) -> None:
        """A slide waits no more."""
        if name in self._waiting:
            self._write({}, (name,))

    def say(self, scales: Mapping[str, Any]) -> None:
        """Keep what a person says: µm/px by the name of a slide; all of it or nothing.

        Raises:
            SettingError: no such slide waits, or an impossible µm/px.
        """
        self.keep(answered(self.all(), scales))

    def _write(self, added: Mapping[str, Waiting], dropped: Sequence[str]) -> None:
        with self._lock:
            now = {name: one for name, one in {**self._waiting, **added}.items() if name not in dropped}
            with replace_atomically(self.path, lasting=True) as temporary:
                temporary.write_bytes(TypeAdapter(list[Waiting]).dump_json(list(now.values()), indent=1))
            self._waiting = now


def answered(waiting: Sequence[Waiting], scales: Mapping[str, Any]) -> list[Waiting]:
    """The slides about which something is said, with that.

    Args:
        waiting: the slides that wait.
        scales: µm/px by name.

    Raises:
        SettingError: a slide is not among them, or a µm/px is not in [0.01, 50].
    """
    named = {one.name: one for one in waiting}
    for name, mpp in scales.items():
        if name not in named:
            raise SettingError(f"no slide {str(name)[:80]!r} waits for its µm/px")
        if isinstance(mpp, bool) or not isinstance(mpp, int | float) or not PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]:
            raise SettingError(
                f"µm/px of {name} must be from {PLAUSIBLE_MPP[0]} to {PLAUSIBLE_MPP[1]:g}, found {str(mpp)[:40]!r}"
            )
    return [replace(named[name], mpp=float(mpp)) for name, mpp in scales.items()]


class Scan:
    """Looks at the slides of a project that is not there yet, in a thread, for those of unknown µm/px.

    Attributes:
        found: these, as far as it has come. A slide that cannot be read is told when it is added.
    """

    def __init__(self, tasks: Sequence[SlideTask]):
        self.tasks = tasks
        self.found: list[Waiting] = []
        self._thread = threading.Thread(target=self._work, name="scales", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait(self) -> None:
        """Until all were looked at, if it was begun."""
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        with suppress(HistoProtoError):
            for name, task in name_slides(self.tasks).items():
                with suppress(Exception), open_slide(task.path, task.mpp) as reader:
                    if reader.mpp is None:
                        self.found = [*self.found, Waiting.of(name, task, reader)]


def told(slides: Sequence[Waiting]) -> list[dict[str, Any]]:
    """What the page is told of slides that wait."""
    return [{key: asdict(one)[key] for key in ("name", "width", "height", "hint")} for one in slides]
