"""What the tests of many slides share."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import colour_card, tiny_run
from histoproto.inference.segmenter import Segmenter
from slides.many.bad_day import MPP, SlowNetwork


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder whose model finds red, green and blue, in this process and in those forked from it."""

    def load(*_: object) -> Segmenter:
        return Segmenter(SlowNetwork(), colour_card(mpp=MPP), device="cpu")  # type: ignore[arg-type]

    monkeypatch.setattr(Segmenter, "load", load)
    return tiny_run(tmp_path / "run", mpp=MPP)
