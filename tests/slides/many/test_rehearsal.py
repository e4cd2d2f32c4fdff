"""What `segment` would do is said without writing anything, and counts what it then does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fakes import ColourNetwork, colour_card
from histoproto.data.images import write_image
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.many.rehearsal import rehearse, seconds_per_window
from histoproto.slides.many.tasks import find_slides
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
