"""The map of one slide by one round, as pieces on the disk; processes may share it.

A *block* is a piece of the coarsest level that the network works out. Pieces of finer levels are cut from it, those of
coarser levels are put together of blocks; where there is none yet, these show the guesses of the tiles.
"""

from __future__ import annotations

import io
from contextlib import suppress
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoproto.errors import OutputError
from histoproto.files import replace_atomically
from histoproto.studio.maps import TILE, Piece, Place, Pyramid, map_picture, read_picture
from histoproto.studio.project import Project
from histoproto.studio.records import SlideRow, Tile
from histoproto.studio.rounds import read_guesses, round_folder


class SlideMap:
    """The pieces of a map.

    Args:
        project: which.
        number: of the round.
        slide: which.

    Attributes:
        pyramid: of the slide.
        level: of the blocks; None: the slide is too coarse for the model, and guesses are all there is.
        scale: pixels of the slide per pixel of the model.
    """

    def __init__(self, project: Project, number: int, slide: SlideRow):
        self.project, self.number, self.slide = project, number, slide
        self.pyramid = Pyramid(slide.width, slide.height)
        self.scale = project.settings.mpp / slide.mpp
        self.level = self.pyramid.blocks(self.scale)
        self.folder = round_folder(project, number) / "pieces" / "maps" / slide.name

    @cached_property
    def blocks(self) -> frozenset[Place]:
        """Those with tissue, as far as tiles were planned."""
        if self.level is None:
            return frozenset()
        side = TILE * self.pyramid.downsample(self.level)
        return frozenset(
            Place(self.level, column, row)
            for tile in self._tiles
            for column in range(int(tile.x // side), int((tile.x + tile.side - 1) // side) + 1)
            for row in range(int(tile.y // side), int((tile.y + tile.side - 1) // side) + 1)
            if self.pyramid.box(self.level, column, row)
        )

    def path(self, place: Place) -> Path:
        """Where the picture of a piece is, or will be."""
        return self.folder / f"{place.level}-{place.column}-{place.row}.png"

    def is_done(self, block: Place) -> bool:
        """Whether a block is there."""
        return self.path(block).is_file()

    def read(self, place: Place) -> bytes | None:
        """The picture of a piece that is there."""
        return _read(self.path(place))

    def keep(self, place: Place, piece: Piece) -> bytes:
        """Write a piece, of a block also the labels at the scale of the model; its picture.

        Raises:
            OutputError: it cannot be written.
        """
        box = self.pyramid.box(*place)
        assert box is not None
        if place.level == self.level:
            with replace_atomically(self._labels_path(place)) as temporary:
                Image.fromarray(piece.labels).save(temporary, "PNG")
        picture = _picture(piece.resized(*box[2:]))
        self._write(place, picture)
        return picture

    def near(self, place: Place) -> bytes | None:
        """The picture of a piece no coarser than a block, if it is there or its block is, from which it is cut."""
        return self.read(place) or self._cut(place)

    def seen_from_afar(self, place: Place) -> tuple[bytes, bool] | None:
        """The picture of a piece of a coarser level as far as blocks are there, and whether all of them are."""
        if (kept := self.read(place)) is not None:
            return kept, True
        if self.pyramid.box(*place) is None:
            return None
        piece, whole = self._from_afar(place)
        picture = _picture(piece)
        return picture, whole

    def _cut(self, place: Place) -> bytes | None:
        box = self.pyramid.box(*place)
        if self.level is None or box is None or place.level <= self.level:
            return None
        times = 2 ** (place.level - self.level)
        block = Place(self.level, place.column // times, place.row // times)
        picture, labels, within = self.read(block), _read(self._labels_path(block)), self.pyramid.box(*block)
        if picture is None or labels is None or within is None:
            return None
        left, top, width, height = box[0] - within[0], box[1] - within[1], *box[2:]
        fine = np.asarray(Image.open(io.BytesIO(labels)))
        step, coarse = self.pyramid.downsample(place.level), self.pyramid.downsample(self.level)
        columns, rows = (
            np.minimum(((start + (np.arange(side) + 0.5) * step) / self.scale).astype(int), most - 1)
            for start, side, most in ((left, width, fine.shape[1]), (top, height, fine.shape[0]))
        )
        far = min((left + width * step) / coarse, within[2]), min((top + height * step) / coarse, within[3])
        edges = left / coarse, top / coarse, *far
        chances = [
            Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR, edges)
            for plane in read_picture(picture, len(self.project.tissues)).chances
        ]
        return map_picture(fine[np.ix_(rows, columns)], np.stack([np.asarray(plane) for plane in chances]))

    def _from_afar(self, place: Place) -> tuple[Piece, bool]:
        if (kept := self.read(place)) is not None:
            return read_picture(kept, len(self.project.tissues)), True
        box = self.pyramid.box(*place)
        assert box is not None
        width, height = box[2:]
        under = self._under(place)
        if place.level == self.level or not any(self.is_done(block) for block in under):
            return self._guessed(place), not under
        labels = np.full((2 * height, 2 * width), len(self.project.tissues), np.uint8)
        chances = np.zeros((len(self.project.tissues), 2 * height, 2 * width), np.uint8)
        whole = True
        for down, right in product((0, 1), (0, 1)):
            child = Place(place.level + 1, 2 * place.column + right, 2 * place.row + down)
            if self.pyramid.box(*child) is None:
                continue
            part, done = self._from_afar(child)
            whole = whole and done
            there = (
                slice(down * TILE, down * TILE + len(part.labels)),
                slice(right * TILE, right * TILE + part.labels.shape[1]),
            )
            labels[there] = part.labels
            chances[:, *there] = part.chances
        means = chances.reshape(len(chances), height, 2, width, 2).mean(axis=(2, 4)).astype(np.uint8)
        piece = Piece(labels[::2, ::2], means)
        if whole:
            with suppress(OutputError):  # it is shown none the less
                self._write(place, _picture(piece))
        return piece, whole

    def _under(self, place: Place) -> list[Place]:
        """The blocks that a piece of a coarser level shows."""
        if self.level is None:
            return []
        times = 2 ** (self.level - place.level)
        return [one for one in self.blocks if (one.column // times, one.row // times) == (place.column, place.row)]

    def _guessed(self, place: Place) -> Piece:
        """What the guesses say: each tile in the colour of its likeliest tissue."""
        box = self.pyramid.box(*place)
        assert box is not None
        left, top, width, height = box
        step = self.pyramid.downsample(place.level)
        labels = np.full((height, width), len(self.project.tissues), np.uint8)
        found = np.zeros((len(self.project.tissues), height, width), np.uint8)
        places, chances = self._guesses
        edges = (places - (left, top, left, top)) / step
        for index in np.flatnonzero((edges[:, 2:] > 0).all(axis=1) & (edges[:, :2] < (width, height)).all(axis=1)):
            x0, y0, x1, y1 = (max(0, round(edge)) for edge in edges[index])
            labels[y0:y1, x0:x1] = int(chances[index].argmax())
            found[:, y0:y1, x0:x1] = (255 * chances[index][:, None, None]).astype(np.uint8)
        return Piece(labels, found)

    @cached_property
    def _tiles(self) -> list[Tile]:
        return [tile for tile in self.project.store.tiles().values() if tile.slide == self.slide.name]

    @cached_property
    def _guesses(self) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Of tiles: left, top, right and bottom, N×4, and the chance of each tissue, N×C."""
        guesses = read_guesses(self.project, self.number)
        tiles = [tile for tile in self._tiles if tile.id in guesses]
        places = [(tile.x, tile.y, tile.x + tile.side, tile.y + tile.side) for tile in tiles]
        chances = [guesses[tile.id] for tile in tiles]
        return np.array(places).reshape(-1, 4), np.array(chances, np.float32).reshape(-1, len(self.project.tissues))

    def _labels_path(self, block: Place) -> Path:
        return self.path(block).with_suffix(".labels.png")

    def _write(self, place: Place, picture: bytes) -> None:
        with replace_atomically(self.path(place)) as temporary:
            temporary.write_bytes(picture)


def _read(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _picture(piece: Piece) -> bytes:
    return map_picture(piece.labels, piece.chances)
