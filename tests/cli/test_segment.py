"""`histoproto segment` from the outside: what it prints, what it writes, how it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fakes import ColourNetwork, colour_card, tiny_run
from histoproto.cli.app import app
from histoproto.data.images import write_image
from histoproto.errors import DataError, HistoProtoError, SettingError
from histoproto.inference.segmenter import Segmenter


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder whose model finds red, green and blue; it does not know its scale."""

    def load(*_: object) -> Segmenter:
        return Segmenter(ColourNetwork(), colour_card(), device="cpu")  # type: ignore[arg-type]

    monkeypatch.setattr(Segmenter, "load", load)
    return tiny_run(tmp_path / "run")


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    for name in "ab":
        write_image(folder / f"{name}.png", np.full((150, 200, 3), (200, 30, 30), dtype=np.uint8))
    return folder


def segment(*arguments: object) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["segment", *map(str, arguments)], catch_exceptions=True)
    if isinstance(result.exception, HistoProtoError):
        result.exception.add_note(result.output)
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_slides_are_segmented_once(model: Path, slides: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = (model, slides / "*.png", "--out", out, "--mpp", 0.5, "--model-mpp", 1, "--device", "cpu")
    printed, _ = segment(*command, "--gzip", "--probabilities", "--min-area", 0)
    assert "2 slides segmented, 0 were finished before, 0 failed" in printed
    assert "red mm²" in printed
    assert "0.01 (100 %)" in printed  # 100 µm × 75 µm
    files = {path.name for path in (out / "a").iterdir()}
    assert {"tissue.ome.tif", "tissue.geojson.gz", "areas.csv", "overview.png", "probabilities.zarr"} <= files
    assert (out / "summary.csv").is_file()
    assert (out / "summary.html").is_file()
    printed, notes = segment(*command, "--gzip", "--probabilities", "--min-area", 0)
    assert "0 slides segmented, 2 were finished before, 0 failed" in printed
    assert not notes.strip()
    printed, notes = segment(*command)
    assert "done before with other settings" in notes


def test_a_failure_is_told_at_the_end(model: Path, slides: Path, tmp_path: Path) -> None:
    (slides / "a.png").write_bytes(b"no slide")
    with pytest.raises(DataError, match="1 of 2 slides failed") as caught:
        segment(model, slides / "*.png", "--out", tmp_path / "out", "--mpp", 0.5, "--model-mpp", 1)
    (output,) = caught.value.__notes__
    assert "1 slide segmented" in output
    assert f"failed: {slides / 'a.png'}" in output
    assert (tmp_path / "out" / "b" / "record.json").is_file()


def test_scales_must_be_known(model: Path, slides: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--model-mpp"):
        segment(model, slides / "a.png", "--out", tmp_path / "out", "--mpp", 0.5)
    with pytest.raises(DataError, match="1 of 1 slide failed") as caught:
        segment(model, slides / "a.png", "--out", tmp_path / "out", "--model-mpp", 0.5)
    assert "give it with --mpp" in caught.value.__notes__[0]
    assert not (tmp_path / "out" / "a").exists()


def test_regions_limit_what_is_looked_at(model: Path, slides: Path, tmp_path: Path) -> None:
    region = np.zeros((15, 20, 3), dtype=np.uint8)
    region[:, :10] = 255
    write_image(tmp_path / "mask.png", region)
    options = ("--mpp", 1, "--model-mpp", 1, "--regions", tmp_path / "mask.png", "--views", 6, "--crf")
    segment(model, slides / "a.png", "--out", tmp_path / "out", *options)
    assert "slide,red,0.015000,100.000,15000" in (tmp_path / "out" / "a" / "areas.csv").read_text()
