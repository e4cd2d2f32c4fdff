"""The nuclei of synthetic tissue: where they lie and how they look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Nuclei:
    """One kind of nuclei.

    Attributes:
        distance: between neighbours, µm.
        length, width: mean axes of the nucleus, µm.
        spread: standard deviation of the logarithm of its size.
        chromatin: amount of haematoxylin.
        clearing: how much paler the centre is than the membrane (0: solid, 1: empty).
        nucleolus: haematoxylin of the nucleolus on top.
        wobble: how far the outline departs from an ellipse.
    """

    distance: float
    length: float
    width: float
    spread: float
    chromatin: float
    clearing: float = 0.0
    nucleolus: float = 0.0
    wobble: float = 0.06


def scatter(rng: np.random.Generator, where: NDArray[np.bool_], distance: float) -> Array:
    """Positions (N × 2, row and column, pixels) inside a mask, on a jittered hexagonal grid `distance` pixels apart."""
    height, width = where.shape
    rows = np.arange(-distance, height + distance, distance * 0.866)
    columns = np.arange(-distance, width + distance, distance)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    grid[1::2, :, 1] += distance / 2
    points = grid.reshape(-1, 2) + rng.uniform(0, distance, 2) + rng.normal(0, 0.16 * distance, (grid.size // 2, 2))
    row, column = points.T.astype(int)
    inside = (points >= 0).all(axis=1) & (row < height) & (column < width)
    inside[inside] = where[row[inside], column[inside]]
    return np.asarray(points[inside], dtype=np.float32)


def stamp(
    rng: np.random.Generator, points: Array, angles: Array, kind: Nuclei, mpp: float, haematoxylin: Array, cover: Array
) -> None:
    """Draw nuclei at `points` (N × 2, pixels), their long axes at `angles` (N), into two H × W maps.

    `haematoxylin` takes the larger of what is there and the nucleus; `cover` how far nuclei hide what lies below them,
    from 0 to 1 (ghosts hide little).
    """
    window = (2 * kind.length / mpp) ** 2
    for part in range(0, len(points), batch := max(1, int(2e6 / window))):  # bounds the memory of a large region
        chosen = slice(part, part + batch)
        rows, columns, amount, hides = _draw(rng, points[chosen], angles[chosen], kind, mpp, haematoxylin.shape)
        np.maximum.at(haematoxylin, (rows, columns), amount)
        np.maximum.at(cover, (rows, columns), hides)


def _draw(
    rng: np.random.Generator, points: Array, angles: Array, kind: Nuclei, mpp: float, shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], NDArray[np.intp], Array, Array]:
    """The pixels that nuclei touch (row, column), their haematoxylin there, and how much they hide."""

    def each(values: NDArray[np.floating]) -> Array:
        return values.astype(np.float32)[..., None, None]  # one per nucleus, against the pixels of its window

    size = np.exp(rng.normal(0, kind.spread, (2, len(points)))) / (2 * mpp)
    long, short = each(kind.length * size[0]), each(kind.width * np.sqrt(size[0] * size[1]))
    reach = int(max(long.max(), short.max()) * (1 + 2 * kind.wobble)) + 2
    step = np.arange(-reach, reach + 1)
    corner = points.astype(np.intp)
    rows, columns = corner[:, 0, None, None] + step[:, None], corner[:, 1, None, None] + step
    down, across = rows + np.float32(0.5) - each(points[:, 0]), columns + np.float32(0.5) - each(points[:, 1])
    cosine, sine = each(np.cos(angles)), each(np.sin(angles))
    u, v = (across * cosine + down * sine) / long, (down * cosine - across * sine) / short
    phase, turn = each(rng.uniform(0, 2 * np.pi, (2, len(points)))), np.arctan2(v, u)
    outline = 1 + kind.wobble * (np.cos(2 * turn + phase[0]) + np.cos(3 * turn + phase[1]))
    radius = np.hypot(u, v) / outline
    inside = np.clip((1 - radius) * np.minimum(long, short) + 0.5, 0, 1)
    chromatin = each(kind.chromatin * np.exp(rng.normal(0, 0.15, len(points))))
    amount = chromatin * (1 - kind.clearing * np.clip(1.25 - radius * radius, 0, 1))
    if kind.nucleolus:
        spot = each(rng.uniform(-0.4, 0.4, (2, len(points))))
        amount = amount + kind.nucleolus * np.exp(((u - spot[0]) ** 2 + (v - spot[1]) ** 2) / -0.045)
    drawn = (inside > 0) & (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    places = (np.broadcast_to(place, drawn.shape)[drawn] for place in (rows, columns))
    return *places, (inside * amount)[drawn], (inside * np.minimum(chromatin, 1))[drawn]
