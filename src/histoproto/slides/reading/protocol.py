"""What every reader of slides offers: levels, µm/px, and any rectangle at any scale in RGB."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoproto.data.scale import Stated
from histoproto.errors import HistoProtoError, ImageError

Pixels = NDArray[np.uint8]

PIXELS_AT_ONCE = 2**22
"""Of a level, decoded for one read; larger reads are done in parts, so that any thumbnail fits into memory."""
FINER = 1.01
"""A level counts as fine enough if it is at most this many times coarser than what is asked for."""


@dataclass(frozen=True)
class Level:
    """One resolution of a slide."""

    width: int
    height: int
    downsample: float
    """Pixels of level 0 per pixel of this level, along one side."""


class SlideReader(ABC):
    """A slide that is open for reading, in RGB. A context manager; threads may share it.

    A file with bounds (MRXS, whose canvas is mostly empty) is cut down to them: all positions count from their corner.
    So does QuPath, unless it is told not to crop; OpenSlide itself counts from the corner of the canvas.
    """

    path: Path
    levels: tuple[Level, ...]
    """From the finest (level 0, downsample 1) on."""
    mpp: float | None = None
    """µm/px of level 0, as `open_slide` settles it; None where neither the file nor the user says."""
    stated: Stated | None = None
    """The size of a pixel as the file states it."""
    told: bool = False
    """Whether the µm/px is the user's."""
    notes: list[str]
    """Sentences on what was chosen, assumed or left out, without the name of the file."""
    format: str = ""
    """Of the file, for people."""
    vendor: str = ""
    power: float | None = None
    """Magnification of the objective."""
    image: str = ""
    """Name of the image that is read, where a file gives its images names."""
    beside: tuple[str, ...] = ()
    """Names of further images in the file, such as its label."""
    profile: bool = False
    """Whether the file has a colour profile, which is not applied."""
    origin: tuple[int, int] = (0, 0)
    """Left and top of the bounds on the canvas of the file, in pixels of level 0."""

    @property
    def mpp_from(self) -> str:
        """Where the µm/px comes from."""
        if self.mpp is None:
            return "unknown"
        return self.stated.source if self.stated and not self.told else "told"

    @property
    def width(self) -> int:
        """Of level 0, in pixels."""
        return self.levels[0].width

    @property
    def height(self) -> int:
        """Of level 0, in pixels."""
        return self.levels[0].height

    def read(self, left: float, top: float, width: int, height: int, downsample: float = 1.0) -> Pixels:
        """A region at any scale, from the nearest finer level.

        Args:
            left, top: its corner in pixels of level 0; may lie outside of the slide.
            width, height: of the result, in pixels.
            downsample: pixels of level 0 per pixel of the result, along one side.

        Returns:
            height × width × 3 RGB: the mean of the pixels that fall together, cubic interpolation where the slide is
            coarser than asked for. Outside of the slide it is white.

        Raises:
            ImageError: the file is damaged there.
        """
        level = self._level_for(downsample)
        ratio = downsample / self.levels[level].downsample
        if width * height * ratio**2 > PIXELS_AT_ONCE and max(width, height) > 1:
            across = width >= height
            half = (width if across else height) // 2
            first = self.read(left, top, *((half, height) if across else (width, half)), downsample)
            if across:
                rest = self.read(left + half * downsample, top, width - half, height, downsample)
            else:
                rest = self.read(left, top + half * downsample, width, height - half, downsample)
            return np.concatenate([first, rest], axis=1 if across else 0)
        x, y = left / self.levels[level].downsample, top / self.levels[level].downsample
        if abs(ratio - 1) * max(width, height) < 0.5:
            return self._crop(level, round(x), round(y), width, height)[0]
        margin = 2 if ratio < 1 else 0  # what cubic interpolation looks at beyond the region
        x0, y0 = floor(x) - margin, floor(y) - margin
        x1, y1 = ceil(x + width * ratio) + margin, ceil(y + height * ratio) + margin
        source, (inside_y, inside_x) = self._crop(level, x0, y0, x1 - x0, y1 - y0)
        if not source[inside_y, inside_x].size:
            return np.full((height, width, 3), 255, dtype=np.uint8)
        box = (x - x0, y - y0, x - x0 + width * ratio, y - y0 + height * ratio)
        method = Image.Resampling.BICUBIC if ratio < 1 else Image.Resampling.BOX
        edges = [
            (part.start, length - part.stop) for part, length in zip((inside_y, inside_x), source.shape, strict=False)
        ]
        if any(any(edge) for edge in edges):  # what lies outside is no part of a pixel's mean
            source = np.pad(source[inside_y, inside_x], [*edges, (0, 0)], mode="edge")
        result = np.array(Image.fromarray(source).resize((width, height), method, box))
        for axis, (start, length) in enumerate(((top, self.height), (left, self.width))):
            centres = start + (np.arange(result.shape[axis]) + 0.5) * downsample
            outside = (centres < 0) | (centres > length)
            if outside.any():
                result[(outside,) if axis == 0 else (slice(None), outside)] = 255
        return result

    def thumbnail(self, side: int) -> tuple[Pixels, float]:
        """The whole slide with its longer side at most `side` pixels, and the downsample it was read at."""
        downsample = max(1.0, max(self.width, self.height) / side)
        width, height = (max(1, round(length / downsample)) for length in (self.width, self.height))
        return self.read(0, 0, width, height, downsample), downsample

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    @abstractmethod
    def read_level(self, level: int, left: int, top: int, width: int, height: int) -> Pixels:
        """A rectangle of one level, in its pixels, wholly inside it: height × width × 3 RGB."""

    def _level_for(self, downsample: float) -> int:
        fine = [index for index, level in enumerate(self.levels) if level.downsample <= downsample * FINER]
        return max(fine, key=lambda index: self.levels[index].downsample, default=0)

    def _crop(self, level: int, left: int, top: int, width: int, height: int) -> tuple[Pixels, tuple[slice, slice]]:
        """A rectangle of a level that may reach beyond it, white there, and which part of it lies inside."""
        known = self.levels[level]
        inside_x, inside_y = _overlap(left, width, known.width), _overlap(top, height, known.height)
        wide, high = inside_x.stop - inside_x.start, inside_y.stop - inside_y.start
        if (wide, high) == (width, height):
            return self._checked(level, left, top, width, height), (inside_y, inside_x)
        canvas = np.full((height, width, 3), 255, dtype=np.uint8)
        if wide and high:
            canvas[inside_y, inside_x] = self._checked(level, left + inside_x.start, top + inside_y.start, wide, high)
        return canvas, (inside_y, inside_x)

    def _checked(self, level: int, left: int, top: int, width: int, height: int) -> Pixels:
        try:
            return self.read_level(level, left, top, width, height)
        except HistoProtoError:
            raise
        except Exception as error:  # decoders raise whatever they like on damaged files
            place = tuple(round(value * self.levels[level].downsample) for value in (left, top))
            reason = str(error) or type(error).__name__
            raise ImageError(f"{self.path} cannot be read near pixel {place}; it may be damaged: {reason}") from error


def _overlap(start: int, length: int, limit: int) -> slice:
    """Which part of start … start + length lies in 0 … limit, counted from start."""
    first = min(max(0, -start), length)
    return slice(first, max(first, min(length, limit - start)))
