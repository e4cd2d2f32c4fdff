"""Rows against one axis as inline SVG: figures of single runs as dots, or differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from histoproto.report.charts import ticks

WIDTH, RIGHT, STEP, TOP, BOTTOM = 760.0, 20.0, 26.0, 6.0, 24.0
LEFT, LETTER = 150.0, 8.0
"""Room for labels: this much, or more for long ones at so much a letter."""


@dataclass(frozen=True)
class ChartRow:
    """One line of a chart: its label, dots, what is marked as their mean, and an interval."""

    label: str
    dots: tuple[float, ...] = ()
    mean: float | None = None
    interval: tuple[float, float] | None = None
    style: str = ""
    """A class of the style sheet, e.g. `better`."""


def row_chart(rows: Sequence[ChartRow], name: str, zero: bool = False) -> Markup:
    """Rows below each other, values to the right; a chart takes its colours from the page.

    Args:
        rows: at least one with a value.
        name: what the axis shows, for those who hear the page, and below it.
        zero: draw a strong line at 0, which is then always part of the axis.
    """
    values = [0.0] if zero else []
    for row in rows:
        values += [*row.dots, *([] if row.mean is None else [row.mean]), *(row.interval or ())]
    axis = ticks(min(values), max(values), 6)
    left = min(WIDTH / 2, max(LEFT, 16 + LETTER * max(len(row.label) for row in rows)))
    height = TOP + STEP * len(rows) + BOTTOM + 14

    def place(value: float) -> float:
        return left + (value - axis[0]) / (axis[-1] - axis[0]) * (WIDTH - left - RIGHT)

    def line(first: float, second: float, v: float, style: str, reach: float = 0.0) -> str:
        return f'<line class="{style}" x1="{first:.1f}" x2="{second:.1f}" y1="{v - reach:.1f}" y2="{v + reach:.1f}"/>'

    bottom = TOP + STEP * len(rows)
    parts = []
    for value in axis:
        style = "zero" if zero and value == 0 else "grid"
        u = place(value)
        parts.append(f'<line class="{style}" x1="{u:.1f}" x2="{u:.1f}" y1="{TOP}" y2="{bottom:.1f}"/>')
        parts.append(f'<text x="{u:.1f}" y="{bottom + 15:.1f}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{(left + WIDTH) / 2:.1f}" y="{bottom + 32:.1f}" text-anchor="middle">{escape(name)}</text>')
    for i, row in enumerate(rows):
        v = TOP + STEP * (i + 0.5)
        parts.append(f'<g class="{row.style or "plain"}"><title>{escape(_words(row))}</title>')
        parts.append(
            f'<text class="label" x="{left - 12:.1f}" y="{v + 4:.1f}" text-anchor="end">{escape(row.label)}</text>'
        )
        if row.interval:
            low, high = row.interval
            parts.append(line(place(low), place(high), v, "interval"))
        if row.mean is not None:
            parts.append(line(place(row.mean), place(row.mean), v, "middle", 7))
        parts += [f'<circle class="dot" cx="{place(x):.1f}" cy="{v:.1f}" r="4"/>' for x in row.dots]
        parts.append("</g>")
    return Markup(
        f'<svg class="rows" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(name)}">'
        f"{''.join(parts)}</svg>"
    )


def _words(row: ChartRow) -> str:
    interval = "" if row.interval is None else f" ({row.interval[0]:.1f} … {row.interval[1]:.1f})"
    return f"{row.label}: {', '.join(f'{dot:.1f}' for dot in row.dots)}{interval}"
