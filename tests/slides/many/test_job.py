"""One slide of many, in a folder where results of it may lie that are not whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fakes import ColourNetwork, colour_card
from histoproto.data.images import write_image
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.export.summary import write_summary
from histoproto.slides.many.job import Job, do_job, is_finished
from histoproto.slides.options import SlideOptions
from histoproto.slides.task import SlideTask


def _record(change: Callable[[dict[str, object]], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        content = json.loads((folder / "record.json").read_text())
        change(content)
        (folder / "record.json").write_text(json.dumps(content))

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "record.json").write_text("{"),
        lambda folder: (folder / "record.json").write_text("{}"),
        _record(lambda record: record.update(seconds="x")),
        _record(lambda record: record.update(tissues=[{"name": "a", "colour": "url(http://x)"}])),
        lambda folder: (folder / "areas.csv").write_text("a,b\n1,2\n"),
        lambda folder: (folder / "areas.csv").unlink(),
    ],
)
def test_broken_results_are_moved_away_and_made_anew(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    write_image(tmp_path / "a.png", np.full((64, 64, 3), (200, 40, 40), np.uint8))
    segmenter = Segmenter(ColourNetwork(), colour_card(mpp=1.0))
    job, out = Job("a", SlideTask(tmp_path / "a.png", 1.0)), tmp_path / "out"
    assert do_job(segmenter, job, out, SlideOptions()).state == "done"
    assert do_job(segmenter, job, out, SlideOptions()).state == "finished"
    spoil(out / "a")
    assert not is_finished(out, "a")
    write_summary(out)
    outcome = do_job(segmenter, job, out, SlideOptions())
    assert outcome.state == "done", outcome.sentence
    assert any("not whole" in note and "a.broken" in note for note in outcome.notes)
    assert (out / "a.broken").is_dir()
    assert is_finished(out, "a")


@pytest.mark.parametrize("content", ["{", "[]", '{"path": 1}', '{"path": "a", "sentence": "because"}'])
def test_a_broken_failure_does_not_stop_the_summary(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.failed.json").write_text(content)
    write_summary(tmp_path)
    row = (tmp_path / "summary.csv").read_text().splitlines()[1]
    assert row.startswith("x,")
    assert "because" in row or "it is not known why" in row
