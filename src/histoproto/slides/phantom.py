"""A synthetic whole slide with an exact mask, written as a real pyramidal TIFF."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from histoproto.data.phantom import GLASS, phantom_region
from histoproto.data.phantom_slide import draw_slide
from histoproto.data.staging import refuse_if_filled
from histoproto.documents.ranges import in_range
from histoproto.errors import SettingError
from histoproto.files import replace_atomically

Pixels = NDArray[np.uint8]

TILE = 256
STEP = 4
"""From one level of the pyramid to the next, along one side."""


def write_phantom_slide(
    path: Path,
    mask: Path | None = None,
    *,
    width: int,
    height: int,
    mpp: float = 1.0,
    field: int = 1024,
    distinct: int = 24,
    glass: float = 0.3,
    seed: int = 0,
) -> None:
    """Write a slide of tissue fields side by side, all with one stain, and its label map.

    Args:
        path: a tiled, pyramidal JPEG TIFF that OpenSlide opens.
        mask: where its label map of `histoproto.data.phantom.TISSUES` goes, as a tiled TIFF; None: nowhere.
        width, height: in pixels.
        mpp: µm/px.
        field: side of a field in pixels; a multiple of 16, each holds up to four tissues.
        distinct: fields that are drawn, which takes seconds each; the slide repeats them, turned and mirrored.
        glass: share of the fields that are empty.
        seed: the same seed gives the same slide.

    Raises:
        SettingError: an impossible size of fields.
        OutputError: a file cannot be written.
    """
    in_range(width, 1, 200_000, "the width")
    in_range(height, 1, 200_000, "the height")
    in_range(seed, 0, 2**32 - 1, "the seed")
    if field < 16 or field % 16:
        raise SettingError(f"the fields of a phantom slide must be a multiple of 16 pixels wide, found {field}")
    for file in (path, mask):
        if file is not None:
            refuse_if_filled(file)
    rng = np.random.default_rng(seed)
    slide = draw_slide(rng)
    count = min(distinct, -(-height // field) * -(-width // field))
    drawn = [
        phantom_region(
            rng, field, field, slide, tissues=rng.permutation(GLASS)[: rng.integers(2, 5)].tolist(), glass=True, mpp=mpp
        )
        for _ in range(count)
    ]
    labels = np.empty((height, width), dtype=np.uint8)

    def bands() -> Iterator[Pixels]:
        for top in range(0, height, field):
            band = np.empty((field, -(-width // field) * field, 3), dtype=np.uint8)
            for left in range(0, width, field):
                pair = drawn[rng.integers(count)]
                turns, mirrored = int(rng.integers(4)), 1 - 2 * int(rng.integers(2))
                image, truth = (np.rot90(part, turns)[:, ::mirrored] for part in pair)
                if rng.random() < glass and (top or left):  # no slide is glass alone
                    image, truth = np.broadcast_to(slide.light, image.shape), np.full_like(truth, GLASS)
                band[:, left : left + field] = image
                place = labels[top : top + field, left : left + field]
                place[:] = truth[: place.shape[0], : place.shape[1]]
            yield band[: height - top, :width]

    write_pyramid(path, bands(), (height, width), mpp)
    if mask is not None:
        with replace_atomically(mask) as temporary:
            tifffile.imwrite(temporary, labels, tile=(TILE, TILE), compression="zlib", metadata=None)


def write_pyramid(path: Path, bands: Iterator[Pixels], shape: tuple[int, int], mpp: float) -> None:
    """Write RGB as a tiled, pyramidal JPEG TIFF; level 0 is never in memory as a whole.

    Args:
        path: the file.
        bands: h×width×3, from top to bottom, each as high as a multiple of 4 except the last.
        shape: height and width.
        mpp: µm/px, for the resolution tags.

    Raises:
        OutputError: it cannot be written.
    """
    options: dict[str, Any] = {"tile": (TILE, TILE), "photometric": "rgb", "metadata": None}
    options |= {"compression": "jpeg", "compressionargs": {"level": 85}, "resolutionunit": "CENTIMETER"}
    coarser: list[Pixels] = []

    def kept() -> Iterator[Pixels]:
        for band in bands:
            coarser.append(_shrink(band))
            yield band

    with replace_atomically(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=True) as file:
        resolution = (1e4 / mpp, 1e4 / mpp)
        file.write(_tiles(kept(), shape[1]), shape=(*shape, 3), dtype=np.uint8, resolution=resolution, **options)
        level = np.concatenate(coarser)
        while True:
            resolution = (resolution[0] / STEP, resolution[1] / STEP)
            file.write(level, subfiletype=1, resolution=resolution, **options)
            if max(level.shape) <= 2 * TILE:
                break
            level = _shrink(level)


def _tiles(bands: Iterator[Pixels], width: int) -> Iterator[Pixels]:
    """Bands of any height as tiles, row by row."""
    held = np.empty((0, width, 3), dtype=np.uint8)
    for band in bands:
        held = np.concatenate([held, band])
        while len(held) >= TILE:
            yield from _row(held[:TILE])
            held = held[TILE:]
    if len(held):
        yield from _row(held)


def _row(rows: Pixels) -> Iterator[Pixels]:
    for left in range(0, rows.shape[1], TILE):
        tile = rows[:, left : left + TILE]
        yield np.pad(tile, ((0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0)), mode="edge")


def _shrink(image: Pixels) -> Pixels:
    """Mean of 4 × 4 pixels; what does not fill such a square at a far edge is left out, unless it is all there is."""
    height, width = (max(STEP, side // STEP * STEP) for side in image.shape[:2])
    image = np.pad(image, ((0, max(0, height - image.shape[0])), (0, max(0, width - image.shape[1])), (0, 0)), "edge")
    cells = image[:height, :width].reshape(height // STEP, STEP, width // STEP, STEP, 3)
    return np.asarray(cells.mean(axis=(1, 3)) + 0.5, dtype=np.uint8)
