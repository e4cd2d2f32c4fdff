"""What there is to look at: tiles, slides and maps as pictures; slides and models stay open for the next piece."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoproto.errors import DataError
from histoproto.slides.reading.opening import open_slide
from histoproto.slides.reading.protocol import SlideReader
from histoproto.studio.maps import Pyramid, map_piece, slide_piece
from histoproto.studio.project import Project
from histoproto.studio.records import SlideRow
from histoproto.studio.rounds import model_folder, read_guesses, round_folder

if TYPE_CHECKING:
    from histoproto.inference.segmenter import Segmenter

OPEN_SLIDES, OPEN_MODELS = 8, 2
"""That are kept for the next piece."""
LIVE_OVERLAP = 0.5
"""Of windows in the map that is looked at: a quarter of the work of `segment`, which makes the final one."""
CONTEXT = 3
"""Sides of a tile that its surroundings show."""


class Viewer:
    """Pictures of a project. Threads may share it.

    Args:
        project: the project.
    """

    def __init__(self, project: Project):
        self.project = project
        self._readers: OrderedDict[str, SlideReader] = OrderedDict()
        self._segmenters: OrderedDict[int, Segmenter] = OrderedDict()
        self._lock, self._map_lock = threading.RLock(), threading.Lock()

    def close(self) -> None:
        """Close the slides."""
        for reader in self._readers.values():
            reader.close()

    def tile_picture(self, tile: int) -> bytes:
        """A tile as PNG."""
        project = self.project
        return project.tile_picture(project.store.tile(tile)).read_bytes()

    def context_picture(self, tile: int) -> bytes:
        """A tile amid its surroundings, three tiles wide and high, as JPEG."""
        found = self.project.store.tile(tile)
        size = self.project.settings.tile
        downsample, margin = found.side / size, found.side * (CONTEXT - 1) / 2
        reader = self._reader(found.slide)
        pixels = reader.read(found.x - margin, found.y - margin, CONTEXT * size, CONTEXT * size, downsample)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=85)
        return file.getvalue()

    def slide_piece(self, slide: str, level: int, column: int, row: int) -> bytes | None:
        """A piece of a slide as JPEG; None: no such piece."""
        return slide_piece(self._reader(slide), level, column, row)

    def map_piece(self, number: int, slide: str, level: int, column: int, row: int) -> bytes | None:
        """A piece of the map of a round as PNG: red the index of the tissue (C: none), green how sure, from 0 to 255.

        Raises:
            DataError: no such round or slide.
        """
        info = self._slide(slide)
        path = round_folder(self.project, number) / "map" / slide / f"{level}-{column}-{row}.png"
        if path.is_file():
            return path.read_bytes()
        reader = self._reader(slide)
        found = None
        if Pyramid(info.width, info.height).downsample(level) <= 4 * self.project.settings.mpp / info.mpp:
            with self._map_lock:  # from afar the guesses do, without waiting for a model
                found = map_piece(reader, info.mpp, self._segmenter(number), level, column, row)
        found = found or self._coarse_piece(number, info, level, column, row)
        if found is None:
            return None
        labels, sure = found
        file = io.BytesIO()
        Image.fromarray(np.stack([labels, sure, np.zeros_like(sure)], axis=2)).save(file, "PNG")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.getvalue())
        return file.getvalue()

    def _coarse_piece(
        self, number: int, slide: SlideRow, level: int, column: int, row: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        """What the guesses say from afar: each tile in the colour of its likeliest tissue."""
        pyramid = Pyramid(slide.width, slide.height)
        box = pyramid.box(level, column, row)
        if box is None:
            return None
        left, top, width, height = box
        scale = pyramid.downsample(level)
        project = self.project
        guesses = read_guesses(project, number)
        labels = np.full((height, width), len(project.tissues), np.uint8)
        sure = np.zeros((height, width), np.uint8)
        tiles = project.store.tiles()
        for number, chances in guesses.items():
            tile = tiles[number]
            if tile.slide != slide.name:
                continue
            x0, y0 = (tile.x - left) / scale, (tile.y - top) / scale
            x1, y1 = x0 + tile.side / scale, y0 + tile.side / scale
            if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
                continue
            place = slice(max(0, round(y0)), round(y1)), slice(max(0, round(x0)), round(x1))
            labels[place] = int(chances.argmax())
            sure[place] = int(chances.max() * 255)
        return labels, sure

    def _slide(self, name: str) -> SlideRow:
        for slide in self.project.store.slides():
            if slide.name == name:
                return slide
        raise DataError(f"there is no slide {name!r} in this project")

    def _reader(self, name: str) -> SlideReader:
        info = self._slide(name)
        with self._lock:
            if name not in self._readers:
                self._readers[name] = open_slide(info.path, info.mpp)
                if len(self._readers) > OPEN_SLIDES:
                    self._readers.popitem(last=False)  # closed when whoever reads from it lets go
            self._readers.move_to_end(name)
            return self._readers[name]

    def _segmenter(self, number: int) -> Segmenter:
        if number not in self._segmenters:
            from histoproto.inference.segmenter import Segmenter  # takes seconds, for which no tile shall wait

            self._segmenters[number] = Segmenter.load(model_folder(self.project, number), "cpu")
            self._segmenters[number].overlap = LIVE_OVERLAP
            if len(self._segmenters) > OPEN_MODELS:
                self._segmenters.popitem(last=False)
        return self._segmenters[number]
