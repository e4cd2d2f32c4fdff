"""Curves of a training run: reading `history.csv`, and drawing a line chart as inline SVG.

The charts take their colours from the page's style sheet, so they follow light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

from histoproto.documents.tables import read_table

WIDTH, HEIGHT = 340.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 16.0, 8.0, 22.0
MAXIMUM_POINTS = 300
TITLES = {
    "val_map": "validation mAP of image labels",
    "val_map_error": "standard error of that mAP",
    "val_miou": "validation mIoU with masks",
}
FIRST = ("classification", "diversity", "similarity", "total")

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One column of the history: its name and its (step, value) pairs in order of steps."""

    name: str
    points: tuple[Point, ...]


def read_history(path: Path) -> list[Curve]:
    """The columns of a `history.csv` against its `step` column (rows are counted where there is none).

    Empty cells, NaN and text are left out, a column without numbers too; a missing file has no curves.
    """
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return []
    table = read_table(path)
    columns, rows = [name for name in table.header if name not in ("step", "epoch")], table.rows
    curves = []
    for column in columns:
        cells = ((_number(row.get("step"), i), _number(row.get(column))) for i, row in enumerate(rows))
        points = tuple((x, y) for x, y in cells if x is not None and y is not None)
        if points:
            curves.append(Curve(column, points))
    return sorted(curves, key=lambda curve: _rank(curve.name))


def _rank(name: str) -> int:
    """Losses in the order of the method, then other losses, validation, the learning rate."""
    if name in FIRST:
        return FIRST.index(name)
    return len(FIRST) + (2 if name == "learning_rate" else name.startswith("val_"))


def _number(cell: str | None, otherwise: float | None = None) -> float | None:
    try:
        value = float(cell or "")
    except ValueError:
        return otherwise
    return value if math.isfinite(value) else otherwise


def title(name: str) -> str:
    """A column of the history in words.

    >>> title("val_map"), title("learning_rate")
    ('validation mAP of image labels', 'learning rate')
    """
    if name in TITLES:
        return TITLES[name]
    return name.replace("val_", "validation ").replace("_", " ")


def thin(points: Sequence[Point], most: int = MAXIMUM_POINTS) -> list[Point]:
    """At most `most` points, each the mean of as many neighbours.

    >>> thin([(0, 1.0), (1, 3.0), (2, 5.0), (3, 7.0)], 2)
    [(0.5, 2.0), (2.5, 6.0)]
    """
    size = math.ceil(len(points) / most)
    if size <= 1:
        return list(points)
    blocks = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in block) / len(block), sum(y for _, y in block) / len(block)) for block in blocks]


def smooth(points: Sequence[Point], part: float = 0.1) -> list[Point]:
    """Mean over a window of that part of the curve around each point; narrower towards the ends, so that a straight
    line stays one."""
    half, smoothed = int(len(points) * part / 2), []
    for i, (x, _) in enumerate(points):
        reach = min(half, i, len(points) - 1 - i)
        window = points[i - reach : i + reach + 1]
        smoothed.append((x, sum(y for _, y in window) / len(window)))
    return smoothed


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that span [low, high].

    >>> ticks(0.13, 0.87)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high <= low:
        spread = abs(low) * 0.1 or 1.0
        low, high = low - spread, high + spread
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda s: abs(s - raw))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    return [round(i * step, digits) for i in range(first, last + 1)]


def line_chart(curve: Curve) -> Markup:
    """A curve as inline SVG: the values faint, their running mean strong (where there are many of them)."""
    points = thin(curve.points)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    across, up = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    left, right = min(xs), max(xs)
    if left == right:
        left, right = across[0], across[-1]

    def place(x: float, y: float) -> Point:
        u, v = (x - left) / (right - left), (y - up[0]) / (up[-1] - up[0])
        return LEFT + u * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - v * (HEIGHT - TOP - BOTTOM)

    def path(line: Sequence[Point], style: str) -> str:
        data = " ".join(f"{u:.1f},{v:.1f}" for u, v in (place(*point) for point in line))
        return f'<polyline class="{style}" points="{data}"/>'

    parts = []
    for y in up:
        v = place(left, y)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{v:.1f}" y2="{v:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{v + 3.5:.1f}" text-anchor="end">{y:g}</text>')
    for x in across:
        if left <= x <= right and x == int(x):  # there is no half step
            parts.append(f'<text x="{place(x, up[0])[0]:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{x:g}</text>')
    if len(points) > 20:
        parts += [path(points, "raw"), path(smooth(points), "mean")]
    else:
        parts.append(path(points, "mean"))
        parts += [f'<circle class="dot" cx="{u:.1f}" cy="{v:.1f}" r="2.5"/>' for u, v in (place(*p) for p in points)]
    name = escape(title(curve.name))
    return Markup(f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{name}">{"".join(parts)}</svg>')
