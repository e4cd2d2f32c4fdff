"""Regions saved as PNG, JPEG or another plain image, as a slide of one level."""

from __future__ import annotations

from pathlib import Path

from histoproto.data.images import read_picture
from histoproto.slides.reading.protocol import Level, Pixels, SlideReader


class ImageSlide(SlideReader):
    """A plain image, held in memory: such files can only be read as a whole. It does not know its µm/px.

    Raises:
        ImageError: see `read_picture`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        picture = read_picture(path)
        self._pixels, self.notes = picture.pixels, list(picture.notes)
        self.format = "picture"
        height, width = self._pixels.shape[:2]
        self.levels = (Level(width, height, 1.0),)

    def read_level(self, level: int, left: int, top: int, width: int, height: int) -> Pixels:
        """See `SlideReader`."""
        return self._pixels[top : top + height, left : left + width]

    def close(self) -> None:
        """Nothing is open."""
