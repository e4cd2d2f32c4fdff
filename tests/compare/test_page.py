"""Charts and pictures of a comparison."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from fakes import TISSUES, ColourNetwork, colour_card
from histoproto.compare.charts import ChartRow, row_chart
from histoproto.compare.page import table_parts, write_page
from histoproto.compare.plan import Plan, Variant
from histoproto.compare.table import compare
from histoproto.data.images import write_image, write_mask
from histoproto.errors import RunError
from histoproto.inference.segmenter import Segmenter


def test_rows_of_a_chart_stand_where_their_values_are() -> None:
    rows = [ChartRow("a<b", (1.0, 3.0), 2.0), ChartRow("c", (-1.5,), None, (-2.0, 1.0), "worse")]
    svg = ElementTree.fromstring(row_chart(rows, "x & y", zero=True))
    dots = [float(str(dot.get("cx"))) for dot in svg.iter("circle")]
    ticks = {t.text: float(str(t.get("x"))) for t in svg.iter("text") if t.get("text-anchor") == "middle"}
    assert dots[0] == pytest.approx(ticks["1"], abs=0.1)
    assert dots[1] == pytest.approx(ticks["3"], abs=0.1)
    assert dots[2] == pytest.approx((ticks["-2"] + ticks["-1"]) / 2, abs=0.1)
    (interval,) = [line for line in svg.iter("line") if line.get("class") == "interval"]
    assert [float(str(interval.get(key))) for key in ("x1", "x2")] == pytest.approx([ticks["-2"], ticks["1"]], abs=0.1)
    (zero,) = [line for line in svg.iter("line") if line.get("class") == "zero"]
    assert float(str(zero.get("x1"))) == ticks["0"]
    assert svg.get("aria-label") == "x & y"


def test_a_chart_leaves_room_for_long_labels() -> None:
    label = "lpd+mosaic:2, new encoder"
    svg = ElementTree.fromstring(row_chart([ChartRow(label, (1.0, 3.0))], "x"))
    (found,) = [float(str(text.get("x"))) for text in svg.iter("text") if text.text == label]
    assert found >= 7.5 * len(label)  # a letter of the page is about so wide
    assert all(float(str(line.get("x1"))) > found for line in svg.iter("line"))


def test_the_page_shows_every_method_beside_the_same_images(
    comparison: tuple[Plan, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = comparison
    rng = np.random.default_rng(1)
    for i in range(12):
        truth = np.kron(rng.integers(0, 3, (2, 2)), np.ones((32, 32), dtype=int)).astype(np.uint8)
        shown = np.where((np.arange(64) < 4 * i)[:, None], truth, 0)  # the higher the number, the more can be found
        write_image(data / "test" / "img" / f"s{i}+0.png", np.eye(3)[shown].astype(np.uint8) * 160 + 40)
        write_mask(data / "test" / "mask" / f"s{i}+0.png", truth, TISSUES)
    loaded: list[Path] = []

    def load(cls: type[Segmenter], run: Path, device: str = "auto") -> Segmenter:
        loaded.append(run)
        return cls(ColourNetwork(), colour_card(64), device)

    monkeypatch.setattr(Segmenter, "load", classmethod(load))
    page = write_page(plan, out).read_text(encoding="utf-8")
    assert loaded == [out / "lpd" / "seed-0", *(row.run(out, 0) for row in plan.variants)]
    assert page.count('alt="ground truth"') == 9
    for row in plan.variants:
        assert page.count(f'alt="mask of {row.label}"') == 9
    scores_shown = [float(text) for text in re.findall(r"<figcaption>lpd<br>([\d.]+) %", page)]
    assert scores_shown == sorted(scores_shown, reverse=True)
    assert scores_shown[0] > scores_shown[-1]
    for rank in ("best", "median", "worst"):
        assert page.count(f"<b>{rank}</b>") == 3
    assert 'class="better">better' in page
    assert "1 of 6 runs are not finished" in page
    assert all(source.startswith(("data:image/", "#")) for source in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert not re.search(r"<script|@import|url\(|<link|https?://", page)
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(re.findall(r'id="([^"]*)"', page))

    plain = write_page(plan, out, pictures=False).read_text(encoding="utf-8")
    assert "<img" not in plain
    empty = Plan.make(data, [Variant.parse("none: lpd")], 1)
    with pytest.raises(RunError, match="no finished run"):
        write_page(empty, out)


def test_the_best_of_a_column_is_the_best_that_is_shown(comparison: tuple[Plan, Path]) -> None:
    plan, out = comparison
    parts = {part.name: part for part in table_parts(compare(plan, out))}
    assert list(parts) == ["Scores", "Tissues", "Prototypes", "Cost"]
    best = {
        column.key: [row[0] for row in part.rows if row[2][i].best]
        for part in parts.values()
        for i, column in enumerate(part.columns)
    }
    assert best["miou"] == ["lpd:2"]
    assert best["mislabelled"] == ["lpd", "lpd:2", "K=3"]  # all alike
    assert best["coverage"] == []  # no other has any
