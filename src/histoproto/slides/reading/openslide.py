"""Slides through OpenSlide: SVS, NDPI, MRXS, SCN, BIF, DICOM, tiled TIFF and more."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import openslide
from PIL import Image

from histoproto.data.scale import Stated
from histoproto.slides.reading.protocol import Level, Pixels, SlideReader


class OpenSlideSlide(SlideReader):
    """A slide that OpenSlide can open, within its bounds.

    Raises:
        openslide.OpenSlideError: OpenSlide refuses the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._slide = openslide.OpenSlide(path)
        known = self._slide.properties
        self.stated = _stated(known)
        self.vendor = self.format = known.get("openslide.vendor", "")
        self.power = _number(known.get("openslide.objective-power"))
        self.profile = getattr(self._slide, "color_profile", None) is not None
        self.beside = tuple(sorted(self._slide.associated_images))
        self.notes = []
        self.origin = (int(known.get("openslide.bounds-x", 0)), int(known.get("openslide.bounds-y", 0)))
        full_width, full_height = self._slide.dimensions
        width = int(known.get("openslide.bounds-width", full_width - self.origin[0]))
        height = int(known.get("openslide.bounds-height", full_height - self.origin[1]))
        self.levels = tuple(
            Level(max(1, round(width * wide / full_width)), max(1, round(height * high / full_height)), downsample)
            for (wide, high), downsample in zip(
                self._slide.level_dimensions, self._slide.level_downsamples, strict=True
            )
        )
        self._background = "#" + known.get("openslide.background-color", "ffffff")

    def read_level(self, level: int, left: int, top: int, width: int, height: int) -> Pixels:
        """See `SlideReader`; what was never scanned has the colour that the file names for it, or white."""
        downsample = self.levels[level].downsample
        corner = (self.origin[0] + round(left * downsample), self.origin[1] + round(top * downsample))
        region = self._slide.read_region(corner, level, (width, height))
        if region.getextrema()[3][0] < 255:
            region = Image.alpha_composite(Image.new("RGBA", region.size, self._background), region)
        return np.asarray(region.convert("RGB"))

    def close(self) -> None:
        """Close the file."""
        self._slide.close()


def vendor(path: Path) -> str | None:
    """What OpenSlide takes a file for; None: it does not know it."""
    with suppress(openslide.OpenSlideError):
        found: str | None = openslide.OpenSlide.detect_format(path)
        return found
    return None


def _stated(known: Mapping[str, str]) -> Stated | None:
    across, down = (_number(known.get(f"openslide.mpp-{axis}")) for axis in "xy")
    if across is None and down is None:
        return None
    # Printers' resolutions are in none of the makers' own formats, but in TIFF tags that OpenSlide falls back to.
    of_print = "tiff.XResolution" in known
    return Stated(across or down or 0, down or across or 0, "mpp-x and mpp-y of OpenSlide", of_print)


def _number(text: str | None) -> float | None:
    with suppress(TypeError, ValueError):
        return float(text)  # type: ignore[arg-type]
    return None
