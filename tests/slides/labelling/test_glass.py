from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakes import ColourNetwork, colour_card
from histoproto.config import InferenceSettings
from histoproto.data.images import write_image
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.segment import segment_slide
from histoproto.slides.task import SlideTask

PALE, PINK = (213, 210, 235), (200, 140, 190)
"""A pale haematoxylin, in all channels as bright as glass may be; and tissue that is not."""


@pytest.mark.parametrize(("colour", "said"), [(PALE, True), (PINK, False)])
def test_tissue_as_bright_as_glass_is_not_left_out_without_a_word(
    colour: tuple[int, int, int], said: bool, tmp_path: Path
) -> None:
    card = colour_card(64, mpp=1.0, inference=InferenceSettings(background="glass"))
    segmenter = Segmenter(ColourNetwork(), card, device="cpu")  # type: ignore[arg-type]
    picture = np.full((320, 320, 3), 244, np.uint8)
    picture[64:256, 64:256] = colour
    write_image(tmp_path / "slide.png", picture)
    summary = segment_slide(segmenter, SlideTask(tmp_path / "slide.png", 1.0), tmp_path / "out")
    notes = [note for note in summary.notes if "as bright as glass" in note]
    assert len(notes) == said
    assert all("--background none" in note for note in notes)
