"""The map of a slide, piece by piece as it is looked at."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoproto.slides.reading.protocol import SlideReader

if TYPE_CHECKING:
    from histoproto.inference.segmenter import Segmenter

Pixels = NDArray[np.uint8]
TILE = 256
"""Side of the pieces in which a slide and its map are shown."""


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


def map_piece(
    reader: SlideReader, mpp: float, segmenter: Segmenter, level: int, column: int, row: int
) -> tuple[Pixels, NDArray[np.uint8]] | None:
    """Labels of a piece of a slide, H×W, and the chance of each tissue there, C×H×W; None where there is none.

    The surroundings of half a patch go through the network, too, so that pieces fit together. Pieces that are coarser
    than four pixels of the model are not worked out (None): too much of the slide would have to go through.

    Args:
        reader: the slide.
        mpp: its µm/px.
        segmenter: a model that knows its own µm/px.
        level, column, row: as DeepZoom counts.

    Returns:
        Labels (C: background), and chances among the tissues in steps of 1/255.
    """
    pyramid = Pyramid(reader.width, reader.height)
    box = pyramid.box(level, column, row)
    model_mpp = segmenter.card.mpp or mpp
    scale = model_mpp / mpp  # pixels of level 0 per pixel of the model
    if box is None or pyramid.downsample(level) > 4 * scale:
        return None
    left, top, width, height = box
    step = pyramid.downsample(level)
    margin = segmenter.card.patch_size // 2
    wide, high = (int(np.ceil(side * step / scale)) for side in (width, height))
    pixels = reader.read(left - margin * scale, top - margin * scale, wide + 2 * margin, high + 2 * margin, scale)
    found = segmenter.segment(pixels)
    assert not isinstance(found, list)
    inner = slice(margin, margin + high), slice(margin, margin + wide)
    labels, scores = found.labels[inner], found.scores[:, inner[0], inner[1]]
    chances = np.exp(scores - scores.max(axis=0))
    steps = (chances / chances.sum(axis=0) * 255).astype(np.uint8)
    size = width, height
    return (
        np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)),
        np.stack([np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)) for plane in steps]),
    )


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
