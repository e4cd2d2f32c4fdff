"""The slides of a project that are read again and again, open."""

from __future__ import annotations

import threading
from collections import OrderedDict

from histoproto.errors import DataError
from histoproto.slides.reading.opening import open_slide
from histoproto.slides.reading.protocol import SlideReader
from histoproto.studio.project import Project
from histoproto.studio.records import SlideRow

MOST = 8
"""Slides that stay open."""


class OpenSlides:
    """Slides of a project by name, of which the last few stay open. Threads may share it."""

    def __init__(self, project: Project):
        self.project = project
        self._readers: OrderedDict[str, SlideReader] = OrderedDict()
        self._lock = threading.Lock()

    def row(self, name: str) -> SlideRow:
        """What the project knows of a slide.

        Raises:
            DataError: there is no such slide.
        """
        for slide in self.project.store.slides():
            if slide.name == name:
                return slide
        raise DataError(f"there is no slide {name!r} in this project")

    def reader(self, name: str) -> SlideReader:
        """A slide, open; raises as `row` and `open_slide` do."""
        row = self.row(name)
        with self._lock:
            if name not in self._readers:
                self._readers[name] = open_slide(row.path, row.mpp)
                if len(self._readers) > MOST:
                    self._readers.popitem(last=False)  # closed when whoever reads from it lets go
            self._readers.move_to_end(name)
            return self._readers[name]

    def close(self) -> None:
        """Close all."""
        for reader in self._readers.values():
            reader.close()
