"""Packages that are missing are told before any work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fakes import ColourNetwork, colour_card, tiny_run
from histoproto.errors import SettingError
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.many.batch import segment_slides
from histoproto.slides.many.rehearsal import rehearse
from histoproto.slides.options import SlideOptions
from histoproto.slides.task import SlideTask


@pytest.mark.parametrize(
    ("option", "package"), [("spatialdata", "spatialdata"), ("probabilities", "zarr"), ("uncertainty", "zarr")]
)
def test_a_missing_package_is_one_sentence_before_any_work(
    option: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before the work is only rehearsed."""
    monkeypatch.setitem(sys.modules, package, None)
    run, out = tiny_run(tmp_path / "run"), tmp_path / "out"
    tasks, options = [SlideTask(tmp_path / "a.png", 1)], SlideOptions(model_mpp=1, **{option: True})
    with pytest.raises(SettingError, match=rf"pip install 'histoproto\[{package}\]'"):
        segment_slides(run, tasks, out, options)
    assert not out.exists()
    segmenter = Segmenter(ColourNetwork(), colour_card(), device="cpu")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=rf"pip install 'histoproto\[{package}\]'"):
        rehearse(segmenter, tasks, out, options)
