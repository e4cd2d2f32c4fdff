"""Pieces of a slide and of its map: where they are, how the network works them out, and how they are sent."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoproto.slides.reading.protocol import SlideReader

if TYPE_CHECKING:
    from histoproto.inference.segmenter import Segmenter

Pixels = NDArray[np.uint8]
TILE = 256
"""Side of the pieces in which a slide and its map are shown."""
COARSEST = 4
"""Pixels of the model per pixel of a piece, at most, that the network works out."""
WHOLE = 8
"""Level at which a slide is one piece."""


class Place(NamedTuple):
    """Where a piece is, as DeepZoom counts."""

    level: int
    column: int
    row: int


@dataclass(frozen=True)
class Piece:
    """A piece of a map.

    Attributes:
        labels: the likeliest tissue, H×W (C: background).
        chances: of each among the tissues, C×H×W, in steps of 1/255.
    """

    labels: Pixels
    chances: Pixels

    def resized(self, width: int, height: int) -> Piece:
        """In another size."""
        labels = Image.fromarray(self.labels).resize((width, height), Image.Resampling.NEAREST)
        planes = [Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in self.chances]
        return Piece(np.asarray(labels), np.stack([np.asarray(plane) for plane in planes]))


@dataclass(frozen=True)
class Pyramid:
    """The levels of a slide as DeepZoom counts them: level L is the largest, each below it half the size.

    Attributes:
        width, height: of level L in pixels.
    """

    width: int
    height: int

    @property
    def top(self) -> int:
        """L, the number of the largest level."""
        return max(0, int(np.ceil(np.log2(max(self.width, self.height)))))

    def downsample(self, level: int) -> int:
        """Pixels of level L per pixel of `level`, along one side."""
        return int(2 ** (self.top - level))

    def blocks(self, scale: float) -> int | None:
        """The coarsest level that the network works out; None: there is none.

        Args:
            scale: pixels of level L per pixel of the model.
        """
        most = COARSEST * scale
        return None if most < 1 else max(self.top - int(np.log2(most)), min(WHOLE, self.top))

    def box(self, level: int, column: int, row: int) -> tuple[int, int, int, int] | None:
        """Left, top (in pixels of level L), width and height (in pixels of `level`) of a piece; None: no such piece."""
        if not 0 <= level <= self.top or column < 0 or row < 0:
            return None
        scale = self.downsample(level)
        wide, high = -(-self.width // scale), -(-self.height // scale)
        width, height = min(TILE, wide - column * TILE), min(TILE, high - row * TILE)
        if width <= 0 or height <= 0:
            return None
        return column * TILE * scale, row * TILE * scale, width, height


def slide_piece(reader: SlideReader, level: int, column: int, row: int) -> bytes | None:
    """A piece of a slide as JPEG, or None where there is none."""
    pyramid = Pyramid(reader.width, reader.height)
    box = pyramid.box(level, column, row)
    if box is None:
        return None
    left, top, width, height = box
    pixels = reader.read(left, top, width, height, pyramid.downsample(level))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def map_piece(reader: SlideReader, mpp: float, segmenter: Segmenter, place: Place) -> Piece | None:
    """A piece of the map of a slide at the scale of the model; None where there is none.

    The surroundings of half a patch go through the network, too, so that pieces fit together.

    Args:
        reader: the slide.
        mpp: its µm/px.
        segmenter: a model; one that does not know its µm/px takes the slide's.
        place: not coarser than `Pyramid.blocks` says, or too much of the slide would have to go through.
    """
    pyramid = Pyramid(reader.width, reader.height)
    box = pyramid.box(*place)
    if box is None:
        return None
    left, top, width, height = box
    scale = (segmenter.card.mpp or mpp) / mpp  # pixels of level 0 per pixel of the model
    margin = segmenter.card.patch_size // 2
    wide, high = (int(np.ceil(side * pyramid.downsample(place.level) / scale)) for side in (width, height))
    pixels = reader.read(left - margin * scale, top - margin * scale, wide + 2 * margin, high + 2 * margin, scale)
    found = segmenter.segment(pixels)
    assert not isinstance(found, list)
    inner = slice(margin, margin + high), slice(margin, margin + wide)
    labels, scores = found.labels[inner], found.scores[:, inner[0], inner[1]]
    chances = np.exp(scores - scores.max(axis=0))
    return Piece(labels, (chances / chances.sum(axis=0) * 255).astype(np.uint8))


def map_picture(labels: Pixels, chances: Pixels) -> bytes:
    """Labels (H×W) and chances (C×H×W) of a piece as one PNG, so that the page shows either without asking again.

    These 1 + C planes are the channels of RGB pictures of H×W, three planes each, that lie one below the other.
    """
    planes = np.concatenate([labels[None], chances])
    planes = np.concatenate([planes, np.zeros((-len(planes) % 3, *labels.shape), np.uint8)])
    blocks = planes.reshape(-1, 3, *labels.shape).transpose(0, 2, 3, 1)
    file = io.BytesIO()
    Image.fromarray(blocks.reshape(-1, labels.shape[1], 3)).save(file, "PNG")
    return file.getvalue()


def read_picture(content: bytes, tissues: int) -> Piece:
    """A piece of so many tissues from its picture."""
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    count = -(-(1 + tissues) // 3)
    planes = (
        pixels.reshape(count, -1, *pixels.shape[1:])
        .transpose(0, 3, 1, 2)
        .reshape(-1, len(pixels) // count, pixels.shape[1])
    )
    return Piece(planes[0], planes[1 : 1 + tissues])
