"""Slides through tifffile: what OpenSlide refuses, such as single-level, striped, OME- and 16-bit TIFF."""

from __future__ import annotations

from pathlib import Path

from histoproto.data.tiff import TiffImage
from histoproto.data.tiff_scale import other_scale, stated_scale
from histoproto.errors import ImageError
from histoproto.slides.reading.mosaic import TileCache, cut_from_tiles
from histoproto.slides.reading.protocol import Level, Pixels, SlideReader


class TiffSlide(SlideReader):
    """The image that is meant in a TIFF file and its pyramid, read tile by tile or strip by strip.

    Raises:
        ImageError: see `TiffImage`, or the image does not stand upright.
        tifffile.TiffFileError: the file is damaged.
    """

    def __init__(self, path: Path, wanted: str | None = None) -> None:
        self.path = path
        self._image = image = TiffImage(path, wanted)
        self._cache = TileCache()
        try:
            if image.orientation != 1:
                raise ImageError(
                    f"{path} is stored turned or mirrored (Orientation {image.orientation}), which viewers of slides "
                    "show differently; save it upright"
                )
            pages = [planes[0].page for planes in image.levels]
            self.levels = tuple(
                Level(
                    page.imagewidth,
                    page.imagelength,
                    (pages[0].imagewidth / page.imagewidth + pages[0].imagelength / page.imagelength) / 2,
                )
                for page in pages
            )
            self.notes = list(image.notes)
            self.stated = stated_scale(image)
            self.notes += filter(None, [other_scale(image)])
            self.profile = 34675 in image.page.tags
            self.format = "OME-TIFF" if image.file.is_ome else "ImageJ TIFF" if image.file.is_imagej else "TIFF"
            self.image = image.choice.name
        except BaseException:
            image.close()
            raise

    def read_level(self, level: int, left: int, top: int, width: int, height: int) -> Pixels:
        """See `SlideReader`."""

        def tile(row: int, column: int) -> Pixels:
            return self._cache.get((level, row, column), lambda: self._image.tile(level, row, column))

        return cut_from_tiles(tile, self._image.levels[level][0].size, left, top, width, height)

    def close(self) -> None:
        """Close the file."""
        self._image.close()
