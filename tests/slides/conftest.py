"""What the tests of slides share."""

from __future__ import annotations

import pytest

from fakes import ColourNetwork, colour_card
from histoproto.inference.segmenter import Segmenter
from slides.coloured import SIZE


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(ColourNetwork(), colour_card(SIZE, mpp=1.0), device="cpu")  # type: ignore[arg-type]
