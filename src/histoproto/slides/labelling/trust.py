"""How far a slide's map can be trusted: doubt and strangeness of each cell, in two files of a byte per cell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoproto.inference.doubt import DOUBTFUL
from histoproto.slides.labelling.raster import LabelRaster

LIMIT = 100
"""What is stored of a strangeness at its limit; above it is strange, and 255 stands for 2.55 times it or more."""

Bytes = NDArray[np.uint8]


class Trust:
    """Doubt and strangeness of a slide, cell by cell, and how many of its windows are strange in stain and sharpness.

    Attributes:
        doubt: one minus the chance of the tissue, 0 … 255 for 0 … 1.
        strange: hundredths of the limit, see `LIMIT`; None where nothing is known.
    """

    def __init__(self, doubt: LabelRaster, strange: LabelRaster | None):
        self.doubt, self.strange = doubt, strange
        self._beyond, self._seen = np.zeros(3), 0.0

    @classmethod
    @contextmanager
    def create(cls, folder: Path, height: int, width: int, known: bool) -> Iterator[Trust]:
        """For height × width cells; its files are removed in the end."""
        paths = [folder / ".doubt", *([folder / ".strange"] if known else [])]
        rasters = [LabelRaster.create(path, height, width) for path in paths]
        try:
            yield cls(rasters[0], rasters[1] if known else None)
        finally:
            for raster in rasters:
                raster.close()
                raster.path.unlink(missing_ok=True)

    def count(self, strange: NDArray[np.floating[Any]], shares: NDArray[np.floating[Any]]) -> None:
        """Windows: strangeness N×3, and share of tissue N."""
        self._beyond += ((strange > 1) * shares[:, None]).sum(axis=0)
        self._seen += float(shares.sum())

    def write(
        self,
        top: int,
        doubt: NDArray[np.floating[Any]],
        strange: NDArray[np.floating[Any]] | None,
        covered: NDArray[np.bool_],
    ) -> None:
        """Rows of cells from `top` on, R×S each; where none was covered by a window nothing is said."""
        self.doubt.write(top, 0, np.where(covered, np.rint(doubt * 255), 0).astype(np.uint8))
        if self.strange is not None and strange is not None:
            hundredths = np.clip(np.ceil(strange * LIMIT), 0, 255)  # so that what is beyond the limit stays beyond
            self.strange.write(top, 0, np.where(covered, hundredths, 0).astype(np.uint8))

    def flags(self, top: int, height: int, width: int, cell: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
        """Which pixels lie in doubtful and in strange cells, of rows top … top + height − 1: height × width each."""
        strange = None if self.strange is None else pixels_of(self.strange, top, height, width, cell) > LIMIT
        return pixels_of(self.doubt, top, height, width, cell) > round((1 - DOUBTFUL) * 255), strange

    def shares(self) -> dict[str, float] | None:
        """Share of the tissue of the windows, in [0, 1], that is strange in `stain` and `sharpness`; None: unknown."""
        if self.strange is None:
            return None
        found = self._beyond / max(self._seen, 1e-9)
        return {"stain": float(found[1]), "sharpness": float(found[2])}


def pixels_of(raster: LabelRaster, top: int, height: int, width: int, cell: int) -> Bytes:
    """What a raster of cells says of each pixel of rows top … top + height − 1: height × width."""
    first, last = top // cell, -(-(top + height) // cell)
    cells = np.repeat(raster.read(first, 0, last - first, raster.width), cell, axis=1)[:, :width]
    return np.asarray(cells[np.arange(top, top + height) // cell - first])
