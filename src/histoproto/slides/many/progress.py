"""How far a command with many slides has come, as lines of a log, and back from there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

EVERY = 2.0
"""Seconds between two lines, at the least."""
_LINE = re.compile(r"progress: slide (\d+) of (\d+), (\d+) %(?:, about (\d+) s)?: (.*)")


@dataclass(frozen=True)
class SlideProgress:
    """How far a slide is.

    Attributes:
        number, of: which slide it is, from 1, of how many.
        percent: of its windows that are done, 0 … 100; its files are written after that.
        left: seconds until then; None: not known yet.
        slide: its name.
    """

    number: int
    of: int
    percent: int
    left: int | None
    slide: str

    def __str__(self) -> str:
        about = "" if self.left is None else f", about {self.left} s"
        return f"progress: slide {self.number} of {self.of}, {self.percent} %{about}: {self.slide}"

    @classmethod
    def of_line(cls, line: str) -> SlideProgress | None:
        """From a line of a log; None: it is no such line."""
        if not (found := _LINE.fullmatch(line)):
            return None
        number, of, percent, left, slide = found.groups()
        return cls(int(number), int(of), int(percent), None if left is None else int(left), slide)


class ProgressLines:
    """Says how far slides are, line by line, for where no bar can be drawn.

    Args:
        say: is given each line.
        of: slides in all.
        clock: seconds.
    """

    def __init__(self, say: Callable[[str], None], of: int, clock: Callable[[], float] = time.monotonic):
        self.say, self.of, self.clock = say, of, clock
        self._done = 0
        self._begun: dict[str, tuple[float, int]] = {}  # of the slides in hand: when, and windows done by then
        self._last = clock()

    def tiles(self, name: str, done: int, total: int) -> None:
        """So many windows of a slide are done."""
        now = self.clock()
        begun, first = self._begun.setdefault(name, (now, done))
        if now - self._last < EVERY:
            return
        self._last = now
        number = self._done + 1 + [*self._begun].index(name)
        left = round((total - done) * (now - begun) / (done - first)) if done > first else None
        self.say(str(SlideProgress(number, self.of, int(100 * done / max(1, total)), left, name)))

    def slide(self, name: str, done: int) -> None:
        """A slide is finished or has failed; so many are now."""
        self._begun.pop(name, None)
        self._done = done
