"""The maps of the rounds, as they are looked at."""

from __future__ import annotations

import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from histoproto.errors import HistoProtoError
from histoproto.studio.maps import Place, map_piece
from histoproto.studio.open_slides import OpenSlides
from histoproto.studio.project import Project
from histoproto.studio.rounds import finished_rounds, model_folder, round_folder
from histoproto.studio.slide_map import SlideMap

if TYPE_CHECKING:
    from histoproto.inference.segmenter import Segmenter

MODELS, SLIDE_MAPS = 2, 16
"""That are kept for the next piece."""
LIVE_OVERLAP = 0.5
"""Of windows in the map that is looked at: a quarter of the work of `segment`, which makes the final one."""


class Maps:
    """Maps of the slides of a project by its rounds. Threads may share it, one network works at a time.

    Args:
        project: which.
        slides: its slides.

    Attributes:
        asked: how many wait for a piece that the network works out.
    """

    def __init__(self, project: Project, slides: OpenSlides):
        self.project, self.slides = project, slides
        self.asked = 0
        self._maps: OrderedDict[tuple[int, str, int], SlideMap] = OrderedDict()
        self._segmenters: OrderedDict[int, Segmenter] = OrderedDict()
        self._lock, self._network = threading.Lock(), threading.Lock()

    def of(self, number: int, slide: str) -> SlideMap:
        """The map of a slide by a round.

        Raises:
            DataError: there is no such slide.
        """
        key = number, slide, len(self.project.store.tiles())
        with self._lock:
            if key not in self._maps:
                self._maps[key] = SlideMap(self.project, number, self.slides.row(slide))
                if len(self._maps) > SLIDE_MAPS:
                    self._maps.popitem(last=False)
            self._maps.move_to_end(key)
            return self._maps[key]

    def piece(self, number: int, slide: str, place: Place) -> tuple[bytes, bool] | None:
        """A piece as `map_picture` writes one, and whether it stays so; None: no such piece.

        One that shows what is guessed from afar does not: it changes as blocks of the map are worked out.

        Raises:
            DataError: no such round or slide.
        """
        model_folder(self.project, number)
        map_ = self.of(number, slide)
        if map_.level is None or place.level < map_.level:
            return map_.seen_from_afar(place)
        picture = map_.near(place)
        if picture is None:
            with self._at_once():  # somebody else may have waited for the same piece
                picture = map_.near(place) or self.work_out(number, slide, place)
        return None if picture is None else (picture, True)

    def work_out(self, number: int, slide: str, place: Place) -> bytes | None:
        """Let the network work a piece out that is no coarser than a block, and keep it; None: no such piece.

        Raises:
            DataError: no such round or slide; ImageError: the slide cannot be read; OutputError: the disk is full.
        """
        map_ = self.of(number, slide)
        piece = map_piece(self.slides.reader(slide), map_.slide.mpp, self._segmenter(number), place)
        return None if piece is None else map_.keep(place, piece)

    def warm(self, number: int) -> None:
        """Load the model of a round, so that the first who looks at its map need not wait for that."""
        with suppress(HistoProtoError, OSError), self._network:  # who looks at the map will be told
            self._segmenter(number)

    def forget(self, before: int) -> None:
        """Remove the pieces of rounds before one; they are worked out again when somebody looks at them."""
        for number in finished_rounds(self.project):
            if number < before:
                shutil.rmtree(round_folder(self.project, number) / "pieces", ignore_errors=True)

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        with self._lock:
            self.asked += 1
        try:
            with self._network:
                yield
        finally:
            with self._lock:
                self.asked -= 1

    def _segmenter(self, number: int) -> Segmenter:
        if number not in self._segmenters:
            from histoproto.inference.segmenter import Segmenter  # takes seconds, for which no tile shall wait

            self._segmenters[number] = Segmenter.load(model_folder(self.project, number), "cpu")
            self._segmenters[number].overlap = LIVE_OVERLAP
            if len(self._segmenters) > MODELS:
                self._segmenters.popitem(last=False)
        return self._segmenters[number]
