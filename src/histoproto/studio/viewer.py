"""What there is to look at: tiles, slides and maps as pictures; slides and models stay open for the next piece."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoproto.errors import DataError, HistoProtoError
from histoproto.files import replace_atomically
from histoproto.slides.reading.opening import open_slide
from histoproto.slides.reading.protocol import SlideReader
from histoproto.studio.maps import Pyramid, map_picture, map_piece, slide_piece
from histoproto.studio.project import Project
from histoproto.studio.records import SlideRow
from histoproto.studio.rounds import model_folder, read_guesses, round_folder

if TYPE_CHECKING:
    from histoproto.inference.segmenter import Segmenter
    from histoproto.studio.gallery import Gallery

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
        self._gallery: Gallery | None = None
        self._readers: OrderedDict[str, SlideReader] = OrderedDict()
        self._segmenters: OrderedDict[int, Segmenter] = OrderedDict()
        self._lock, self._map_lock = threading.RLock(), threading.Lock()

    def close(self) -> None:
        """Close the slides."""
        for reader in self._readers.values():
            reader.close()

    @property
    def gallery(self) -> Gallery:
        """Of the prototypes of the rounds."""
        from histoproto.studio.gallery import Gallery  # torch, which the server begins without

        with self._lock:
            self._gallery = self._gallery or Gallery(self.project)
            return self._gallery

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
        """A piece of the map of a round as PNG, see `map_picture`.

        Raises:
            DataError: no such round or slide.
        """
        info = self._slide(slide)
        path = round_folder(self.project, number) / "pieces" / "map" / slide / f"{level}-{column}-{row}.png"
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
        content = map_picture(*found)
        with replace_atomically(path) as temporary:
            temporary.write_bytes(content)
        return content

    def warm(self, number: int) -> None:
        """Load the model of a round, so that the first who looks at its map need not wait for that."""
        with suppress(HistoProtoError, OSError), self._map_lock:  # who looks at the map will be told
            self._segmenter(number)

    def prototype_piece(
        self, number: int, tissue: int, prototype: int, slide: str, level: int, column: int, row: int
    ) -> bytes | None:
        """Where a prototype of a round fires on a slide, as `Gallery.piece` shows it; kept as pieces of maps are."""
        info = self._slide(slide)
        folder = round_folder(self.project, number) / "pieces" / f"prototype-{tissue}-{prototype}"
        path = folder / slide / f"{level}-{column}-{row}.png"
        if path.is_file():
            return path.read_bytes()
        place = level, column, row
        content = self.gallery.piece(number, tissue, prototype, self._reader(slide), slide, info.mpp, place)
        if content is not None:
            with replace_atomically(path) as temporary:
                temporary.write_bytes(content)
        return content

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
        found = np.zeros((len(project.tissues), height, width), np.uint8)
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
            found[:, *place] = (255 * chances[:, None, None]).astype(np.uint8)
        return labels, found

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
