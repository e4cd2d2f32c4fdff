"""The report: what it shows is what was measured, and it is one file that needs nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import TISSUES
from histoproto.config import Settings
from histoproto.errors import RunError
from histoproto.evaluation.protocols import evaluate
from histoproto.report.html import write_report
from histoproto.report.protocols import read_protocols


def test_protocols_are_what_was_measured(run: Path, data: Path) -> None:
    results = evaluate(run, data, ("paper", "honest"))
    honest, paper = read_protocols(run, TISSUES)
    assert (honest.name, paper.name) == ("honest", "paper")
    assert honest.meaning == "predicted labels, background ignored, one view, no CRF"
    assert paper.meaning == "oracle labels, background counted, 6 views, with CRF"
    assert honest.patches == "12 test patches"
    assert honest.miou == results["honest"]["scores"]["miou"]
    assert [row.iou for row in honest.rows] == [t["iou"] for t in results["honest"]["tissues"].values()]
    matrix = np.array(results["honest"]["confusion"])
    assert [row.name for row in honest.matrix] == ["red", "green", "blue"]
    for row, counts in zip(honest.matrix, matrix, strict=False):
        assert np.allclose(np.array(row.shares, dtype=float), counts / counts.sum())
    assert paper.matrix[-1].shares == (None,) * 4
    assert read_protocols(data, TISSUES) == []


def test_the_report_is_one_file_with_everything(run: Path, data: Path) -> None:
    evaluate(run, data, ("honest",))
    settings = Settings(seed=3)
    (run / "config.yaml").write_text(settings.to_yaml())
    (run / "history.csv").write_text("step,epoch,total\n1,0,2.0\n2,0,1.0\n")
    record: dict[str, Any] = {"finished": "2030-01-02T03:04:05+00:00", "seconds": 61.0, "versions": {"torch": "<9>"}}
    (run / "record.json").write_text(json.dumps(record))
    path = write_report(run, data)
    page = path.read_text(encoding="utf-8")
    assert path == run / "report.html"
    assert "my &lt;run&gt;" in page
    assert "<9>" not in page
    assert "seed 3 · trained 2030-01-02 · in 1 min" in page
    assert re.search(r'class="changed"><dt>seed</dt><dd>3<', page)
    assert not re.search(r'class="changed"><dt>training.epochs<', page)
    for heading in (
        "Scores per tissue",
        "What is taken for what",
        "Examples",
        "What the prototypes look for",
        "Training",
    ):
        assert f"<h2>{heading}</h2>" in page
    for rank in ("best", "median", "worst"):
        assert f"<b>{rank}</b>" in page
    assert page.count('<div class="prototype">') == 3 * 2
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(re.findall(r'id="([^"]*)"', page))
    assert not re.search(r"<script|@import|url\(|<link|https?://", page)
    assert page.count("<img") == len(re.findall(r'<img [^>]*alt="', page))
    assert [p.name for p in run.iterdir() if "partial" in p.name] == []


def test_a_report_of_a_bare_model(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    assert "Not scored yet" in page
    assert "<h2>Model card</h2>" in page
    assert "<img" not in page


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no trained model"):
        write_report(tmp_path)
