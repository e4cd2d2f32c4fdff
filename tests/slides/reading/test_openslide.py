from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image

from histoproto.errors import DataError, ImageError
from histoproto.slides.reading import opening
from histoproto.slides.reading.openslide import OpenSlideSlide


class BoundedSlide:
    """An MRXS: a canvas of 1000 × 800, of which 400 × 300 at (90, 50) were scanned; its pixels tell where they are."""

    dimensions = (1000, 800)
    level_dimensions = ((1000, 800), (500, 400))
    level_downsamples = (1.0, 2.0)
    associated_images: dict[str, object] = {}  # noqa: RUF012
    properties: dict[str, str] = {  # noqa: RUF012
        "openslide.bounds-x": "90",
        "openslide.bounds-y": "50",
        "openslide.bounds-width": "400",
        "openslide.bounds-height": "300",
        "openslide.mpp-x": "0.2",
        "openslide.mpp-y": "0.201",
        "openslide.background-color": "0000ff",
    }

    def __init__(self, path: Path) -> None:
        pass

    def read_region(self, corner: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        rows, columns = np.mgrid[: size[1], : size[0]] * 2**level
        x, y = columns + corner[0], rows + corner[1]
        scanned = (x >= 100) & (x < 490) & (y >= 50) & (y < 350)  # the first ten columns of the bounds are missing
        return Image.fromarray(np.stack([x // 4, y // 4, 0 * x, 255 * scanned], axis=2).astype(np.uint8), "RGBA")

    def close(self) -> None:
        pass


def opened(path: Path, monkeypatch: pytest.MonkeyPatch, mpp: float | None = None, **properties: str) -> OpenSlideSlide:
    """A slide that OpenSlide says has these properties."""

    class Slide(BoundedSlide):
        pass

    known = {name.replace("mpp_", "openslide.mpp-"): value for name, value in properties.items()}
    Slide.properties = {**BoundedSlide.properties, **{name.replace("_", "-"): value for name, value in known.items()}}
    monkeypatch.setattr(openslide, "OpenSlide", Slide)
    monkeypatch.setattr(opening, "vendor", lambda path: "aperio")
    path.write_bytes(b"slide")
    slide = opening.open_slide(path, mpp)
    assert isinstance(slide, OpenSlideSlide)
    return slide


def test_positions_count_from_the_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = opened(tmp_path / "a.mrxs", monkeypatch)
    assert (slide.width, slide.height, slide.origin) == (400, 300, (90, 50))
    assert [(level.width, level.height) for level in slide.levels] == [(400, 300), (200, 150)]
    assert slide.read(30, 70, 1, 1)[0, 0].tolist() == [30, 30, 0]
    assert slide.read(30, 70, 1, 1, 2.0)[0, 0].tolist() == [30, 30, 0]
    assert slide.read(0, 0, 5, 5)[2, 2].tolist() == [0, 0, 255]  # never scanned: the colour that the file names
    assert (slide.read(395, 295, 20, 20)[5:, 5:] == 255).all()


def test_oblong_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = opened(tmp_path / "a.svs", monkeypatch)
    assert slide.mpp == pytest.approx((0.2 * 0.201) ** 0.5)  # that of a square of the same area
    assert slide.mpp_from == "mpp-x and mpp-y of OpenSlide"
    with pytest.raises(ImageError, match=r"pixels of 0\.2 × 0\.3 µm .* expected square ones"):
        opened(tmp_path / "a.svs", monkeypatch, mpp_y="0.3")
    told = opened(tmp_path / "a.svs", monkeypatch, mpp=0.25, mpp_y="0.3")
    assert (told.mpp, told.mpp_from) == (0.25, "told")
    assert told.notes == ["0.25 µm/px is taken, as told, though the file says 0.2449 (mpp-x and mpp-y of OpenSlide)"]


def test_an_objective_is_a_hint_but_no_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = opened(tmp_path / "a.svs", monkeypatch, mpp_x="", mpp_y="", **{"openslide.objective-power": "20"})
    assert (slide.mpp, slide.power) == (None, 20)
    with pytest.raises(DataError, match=r"does not say how many µm a pixel is wide; its objective is said to be 20×"):
        opening.require_mpp(slide)
