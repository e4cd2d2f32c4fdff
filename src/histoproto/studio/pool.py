"""The tiles that have been looked at, and all that is known of them: what the queue chooses from."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Container, Mapping

import numpy as np
from numpy.typing import NDArray

from histoproto.studio.looks import Look, poor_looks
from histoproto.studio.project import Project
from histoproto.studio.queue import Known
from histoproto.studio.records import Label, Tile
from histoproto.studio.space import Space

FEW = 8
"""Slides with fewer tiles are patches or small regions. They count as one slide, for otherwise each of a thousand
patches would come first as a slide without a label."""
SMALL_ONES = "the small images"

Guesses = Mapping[int, NDArray[np.float32]]


class Pool:
    """The tiles of a project that have an embedding, in the order they got it. Threads may share it.

    Attributes:
        tiles: these.
        place: of each tile's number in all that is by tile.
    """

    def __init__(self, project: Project):
        self.project = project
        self.tiles: list[Tile] = []
        self.place: dict[int, int] = {}
        self._vectors = np.empty((0, 0), np.float16)
        self._space = Space(self._vectors)
        self._slides, self._slide_names = np.empty(0, np.int64), [""]
        self._checks, self._poor = np.empty(0, np.bool_), np.empty(0, np.bool_)
        self._chances: tuple[int, NDArray[np.float32]] | None = None
        self._lock = threading.RLock()

    def known(self, labels: Mapping[int, Label], busy: Container[int], round: int, guesses: Guesses) -> Known:
        """All that is known now.

        Args:
            labels: what stands, by tile.
            busy: tiles that are not to be asked for although nothing stands about them.
            round: number of the model that the guesses are of; 0: there is none.
            guesses: chance of each tissue, C, by tile.
        """
        with self._lock:
            self._refresh()
            names = self.project.tissues.names
            done = np.array([tile.id in busy for tile in self.tiles], np.bool_)
            ticks = np.full((len(self.tiles), len(names)), -1, np.int8)
            for number, label in labels.items():
                if (place := self.place.get(number)) is not None:
                    done[place] = True
                    if label.verdict == "label":
                        ticks[place] = [name in label.ticks for name in names]
            chances = self._chances_of(round, guesses, len(names)) if round and self.tiles else None
            slides, checks, poor = self._slides, self._checks, self._poor
            return Known(self._space, slides, checks, poor, done, ticks, chances, names, self._slide_names)

    def _refresh(self) -> None:
        numbers, vectors = self.project.store.embeddings(after=len(self.tiles))
        if not len(numbers):
            return
        every = self.project.store.tiles()
        self.tiles = [*self.tiles, *(every[int(number)] for number in numbers)]
        self.place = {tile.id: place for place, tile in enumerate(self.tiles)}
        self._vectors = np.concatenate([self._vectors, vectors]) if len(self._vectors) else vectors
        self._space = Space(self._vectors)
        count = Counter(tile.slide for tile in every.values())
        large = [slide.name for slide in self.project.store.slides() if count[slide.name] >= FEW]
        names = [*large, *([SMALL_ONES] if len(large) < len(count) else [])]
        index = {name: place for place, name in enumerate(names)}
        self._slides = np.array([index.get(tile.slide, len(names) - 1) for tile in self.tiles], np.int64)
        self._slide_names = names
        self._checks = np.array([tile.checks for tile in self.tiles], np.bool_)
        looks = {tile: Look(*look) for tile, look in self.project.store.looks().items()}
        self._poor = poor_looks(self.tiles, looks)

    def _chances_of(self, round: int, guesses: Guesses, tissues: int) -> NDArray[np.float32]:
        """N×C; even where a tile was not guessed."""
        if self._chances is None or self._chances[0] != round or len(self._chances[1]) != len(self.tiles):
            even = np.full(tissues, 0.5, np.float32)
            self._chances = round, np.stack([guesses.get(tile.id, even) for tile in self.tiles])
        return self._chances[1]
