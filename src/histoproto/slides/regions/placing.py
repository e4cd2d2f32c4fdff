"""Whether drawn regions lie on the slide that they are said to be of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely

from histoproto.errors import DataError
from histoproto.slides.regions.geojson import Region
from histoproto.words import counted

_CLEARLY_FINER = 0.6
"""µm/px below which micrometres taken for pixels show."""


def check_places(regions: Sequence[Region], width: int, height: int, mpp: float, source: Path) -> list[str]:
    """What is odd about where regions lie on a slide, in words.

    Args:
        regions: in pixels of level 0.
        width, height, mpp: of level 0.
        source: the file of the regions.

    Raises:
        DataError: all of them lie outside of the slide, or all coordinates are from 0 to 1.
    """
    x0, y0, x1, y1 = shapely.bounds(np.array([region.geometry for region in regions], dtype=object)).T
    right, bottom = float(x1.max()), float(y1.max())
    if max(right, bottom) <= 1:
        raise DataError(f"the coordinates in {source} are below 1, expected pixels of the slide's full resolution")
    outside = (x1 <= 0) | (y1 <= 0) | (x0 >= width) | (y0 >= height)
    if outside.all():
        raise DataError(
            f"all {len(regions)} annotations of {source} lie outside of the slide, which has {width} × {height} px; "
            "are they of another slide?"
        )
    notes = []
    if outside.any():
        notes.append(
            f"{outside.sum()} of {counted(len(regions), 'annotation')} of {source.name} lie outside of the slide"
        )
    if (
        mpp < _CLEARLY_FINER
        and right <= width * mpp
        and bottom <= height * mpp
        and (right > width * mpp / 2 or bottom > height * mpp / 2)
    ):
        notes.append(
            f"all annotations of {source.name} lie in the upper left {width * mpp:.0f} × {height * mpp:.0f} px of the "
            "slide, as if their coordinates were µm; they are taken for pixels of the full resolution"
        )
    return notes
