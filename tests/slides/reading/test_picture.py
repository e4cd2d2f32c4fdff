from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from histoproto.data.images import write_image
from histoproto.errors import DataError
from histoproto.slides.reading.opening import open_slide, require_mpp

Pixels = NDArray[np.uint8]


def test_a_picture_does_not_know_its_scale(picture: Pixels, tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", picture)
    with open_slide(tmp_path / "x.png") as slide:
        assert (slide.mpp, slide.format, slide.mpp_from) == (None, "picture", "unknown")
        with pytest.raises(DataError, match=r"x\.png does not say .* --mpp"):
            require_mpp(slide)
    with open_slide(tmp_path / "x.png", mpp=0.3) as slide:
        assert (slide.mpp, slide.mpp_from) == (0.3, "told")
    with pytest.raises(DataError, match="µm/px of a slide must be"):
        open_slide(tmp_path / "x.png", mpp=0)


def test_notes_of_a_picture_are_kept(picture: Pixels, tmp_path: Path) -> None:
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "x.jpg", quality=98)
    with open_slide(tmp_path / "x.jpg") as slide:
        assert "CMYK" in slide.notes[0]
        assert np.abs(slide.read(0, 0, slide.width, slide.height).astype(int) - picture).mean() < 3
