"""What there is to look at: tiles, slides, maps and prototypes as pictures."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from PIL import Image

from histoproto.files import replace_atomically
from histoproto.studio.ahead import Ahead
from histoproto.studio.mapper import Mapper
from histoproto.studio.mapping import Maps
from histoproto.studio.maps import Place, slide_piece
from histoproto.studio.open_slides import OpenSlides
from histoproto.studio.project import Project
from histoproto.studio.rounds import round_folder

if TYPE_CHECKING:
    from histoproto.studio.gallery import Gallery

CONTEXT = 3
"""Sides of a tile that its surroundings show."""


class Viewer:
    """Pictures of a project. Threads may share it.

    Args:
        project: the project.
        newest: the last round, whose map is gone on with where somebody looks at it; 0: there is none.
        pause: whether something goes on that this shall not slow down.

    Attributes:
        slides: that are open.
        maps: of the rounds.
        ahead: who goes on with the map of the slide that is looked at.
    """

    def __init__(
        self, project: Project, newest: Callable[[], int] = lambda: 0, pause: Callable[[], bool] = lambda: False
    ):
        self.project = project
        self.slides = OpenSlides(project)
        self.maps = Maps(project, self.slides)
        self.ahead = Ahead(self.maps, Mapper(project), newest, pause)
        self._gallery: Gallery | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop the work on maps and close the slides."""
        self.ahead.stop()
        self.slides.close()

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
        reader = self.slides.reader(found.slide)
        pixels = reader.read(found.x - margin, found.y - margin, CONTEXT * size, CONTEXT * size, downsample)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=85)
        return file.getvalue()

    def slide_piece(self, slide: str, level: int, column: int, row: int) -> bytes | None:
        """A piece of a slide as JPEG; None: no such piece."""
        return slide_piece(self.slides.reader(slide), level, column, row)

    def map_piece(self, number: int, slide: str, level: int, column: int, row: int) -> tuple[bytes, bool] | None:
        """A piece of the map of a round, see `Maps.piece`; the rest of the slide follows.

        Raises:
            DataError: no such round or slide.
        """
        place = Place(level, column, row)
        found = self.maps.piece(number, slide, place)
        if found is not None:
            self.ahead.look(number, slide, place)
        return found

    def prototype_piece(
        self, number: int, tissue: int, prototype: int, slide: str, level: int, column: int, row: int
    ) -> bytes | None:
        """Where a prototype of a round fires on a slide, as `Gallery.piece` shows it; kept as pieces of maps are."""
        info = self.slides.row(slide)
        folder = round_folder(self.project, number) / "pieces" / f"prototype-{tissue}-{prototype}"
        path = folder / slide / f"{level}-{column}-{row}.png"
        if path.is_file():
            return path.read_bytes()
        place = level, column, row
        content = self.gallery.piece(number, tissue, prototype, self.slides.reader(slide), slide, info.mpp, place)
        if content is not None:
            with replace_atomically(path) as temporary:
                temporary.write_bytes(content)
        return content
