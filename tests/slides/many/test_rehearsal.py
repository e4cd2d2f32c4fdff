"""What `segment` would do is said without writing anything, and counts what it then does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakes import ColourNetwork, colour_card
from histoproto.data.images import write_image
from histoproto.errors import OutputError
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.many.rehearsal import rehearse, seconds_per_window
from histoproto.slides.many.tasks import find_slides
from histoproto.slides.options import SlideOptions
from histoproto.slides.segment import segment_slide


def test_windows_are_those_that_are_then_done(tmp_path: Path) -> None:
    for name in "abc":
        write_image(tmp_path / f"{name}.png", np.full((192, 256, 3), (200, 20, 20), dtype=np.uint8))
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:60])
    segmenter = Segmenter(ColourNetwork(), colour_card(mpp=0.5), device="cpu")  # type: ignore[arg-type]
    tasks, out = find_slides([tmp_path / "*.png"], 0.5), tmp_path / "out"
    found = rehearse(segmenter, tasks, out)
    assert [(one.name, one.state) for one in found] == [("a", "to do"), ("b", "failed"), ("c", "to do")]
    assert "b.png" in found[1].sentence
    assert not out.exists()
    summary = segment_slide(segmenter, tasks[0], out / "a")
    assert summary.windows == found[0].windows > 1
    assert found[0].bytes >= summary.width * summary.height
    assert rehearse(segmenter, tasks, out)[0].state == "finished"
    assert 0 < seconds_per_window(segmenter) < 1
    (again, *_) = rehearse(segmenter, tasks, out, SlideOptions(overlap=0.5))
    assert (again.state, again.notes) == (
        "finished",
        ("done before with other settings, another model or from another file, and left so",),
    )
    (out / "a" / "areas.csv").write_text("x")
    (broken, *_) = rehearse(segmenter, tasks, out)
    assert (broken.state, broken.notes[0]) == ("to do", "there are results that are not whole; they would be set aside")


def test_what_would_stop_the_batch_stops_its_rehearsal(tmp_path: Path) -> None:
    segmenter = Segmenter(ColourNetwork(), colour_card(mpp=0.5), device="cpu")  # type: ignore[arg-type]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is there already and no folder"):
        rehearse(segmenter, [], tmp_path / "file")
    (tmp_path / "summary.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"summary\.csv is there already"):
        rehearse(segmenter, [], tmp_path)
