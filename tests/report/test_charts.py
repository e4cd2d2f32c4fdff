"""Curves: what is read of them, and that they stay inside their frame."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from histoproto.errors import DocumentError
from histoproto.report.charts import Curve, line_chart, read_history, smooth, thin, ticks


def test_history_takes_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(
        "step,epoch,learning_rate,total,val_map,similarity,classification\n1,0,.1,2,,,1\n2,0,.1,nan,0.5,x,\n"
    )
    curves = {curve.name: curve.points for curve in read_history(path)}
    assert list(curves) == ["classification", "total", "val_map", "learning_rate"]
    assert curves["total"] == ((1.0, 2.0),)
    assert curves["val_map"] == ((2.0, 0.5),)
    path.write_text("total\n3\n4\n")
    assert read_history(path)[0].points == ((0.0, 3.0), (1.0, 4.0))
    path.write_text("")
    assert read_history(path) == []
    assert read_history(tmp_path / "none.csv") == []
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DocumentError, match="is a pipe or a device"):
        read_history(tmp_path / "pipe.csv")


@pytest.mark.parametrize("points", [[(5, 1.0)], [(0, 0.0), (10, 0.0)], [(i, float(np.sin(i))) for i in range(2000)]])
def test_a_chart_is_well_formed_and_stays_inside(points: list[tuple[float, float]]) -> None:
    svg = ElementTree.fromstring(line_chart(Curve('a<b&"c"', tuple(points))))
    assert svg.get("aria-label") == 'a<b&"c"'
    _, _, width, height = map(float, str(svg.get("viewBox")).split())
    lines = [line for line in svg if line.tag == "polyline"]
    assert lines
    for line in lines:
        places = np.array([pair.split(",") for pair in str(line.get("points")).split()], dtype=float)
        assert len(places) <= 300
        assert (places >= 0).all()
        assert (places <= [width, height]).all()


def test_smoothing_keeps_a_line_and_the_number_of_points() -> None:
    line = [(float(i), 3.0 * i) for i in range(50)]
    assert np.allclose(smooth(line), line)
    assert smooth([]) == []
    assert len(thin(line, 20)) <= 20


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 7), (1e-5, 9e-5), (4, 4), (0, 0), (0.981, 0.985)])
def test_ticks_span_the_values(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 3 <= len(found) <= 9
    assert np.allclose(np.diff(found), found[1] - found[0])
