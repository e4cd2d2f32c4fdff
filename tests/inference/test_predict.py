from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from fakes import TISSUES, ColourNetwork, colour_card
from histoproto.cli.predict import predict
from histoproto.data.images import write_image
from histoproto.data.masks import read_mask
from histoproto.errors import DataError, ImageError, SettingError
from histoproto.inference import segmenter as module
from histoproto.inference.predict import find_images, predict_files
from histoproto.inference.segmenter import Segmenter

RED, GREEN, WHITE = (200, 20, 20), (20, 200, 20), (245, 245, 245)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Half red, half green; all red; red and glass."""
    folder = tmp_path / "images"
    pixels = np.zeros((3, 64, 64, 3), np.uint8) + np.array(RED, np.uint8)
    pixels[0, :, 32:] = GREEN
    pixels[2, :, :32] = WHITE
    for name, image in zip("abc", pixels, strict=True):
        write_image(folder / f"{name}.png", image)
    return folder


def segmenter(mpp: float | None = None) -> Segmenter:
    return Segmenter(ColourNetwork(), colour_card(mpp=mpp), device="cpu")  # type: ignore[arg-type]


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {Path(row["image"]).stem: row for row in csv.DictReader(file)}


def test_masks_overlays_and_areas(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done: list[tuple[int, int]] = []
    settings = segmenter().card.inference.model_copy(update={"background": "glass"})
    prediction = predict_files(
        segmenter(), [images], out, settings, mpp=0.5, progress=lambda *numbers: done.append(numbers)
    )
    assert [path.name for path in prediction.done] == ["a.png", "b.png", "c.png"]
    assert prediction.failed == ()
    assert done == [(1, 3), (2, 3), (3, 3)]
    mask = read_mask(out / "mask" / "a.png", TISSUES)
    assert np.array_equal(mask, np.broadcast_to(np.repeat([0, 1], 32), (64, 64)))
    with Image.open(out / "mask" / "a.png") as palette:
        assert palette.mode == "P"
    assert {path.name for path in (out / "overlay").iterdir()} == {"a.png", "b.png", "c.png"}
    rows = table(prediction.areas)
    assert (rows["a"]["red %"], rows["a"]["green pixels"], rows["a"]["blue pixels"]) == ("50.00", "2048", "0")
    assert float(rows["a"]["red mm2"]) == pytest.approx(2048 * 0.25e-6, abs=1e-6)
    assert float(rows["a"]["red probability"]) > 0.9 > 0.1 > float(rows["a"]["blue probability"])
    assert rows["c"]["red %"] == "100.00"
    assert abs(int(rows["c"]["background pixels"]) - 2048) < 200
    assert not list(out.rglob(".*partial*"))  # nothing half-written


def test_a_broken_image_does_not_stop_the_others(images: Path, tmp_path: Path) -> None:
    (images / "a2.png").write_bytes((images / "a.png").read_bytes()[:60])
    prediction = predict_files(segmenter(), [images], tmp_path / "out")
    assert [path.name for path in prediction.done] == ["a.png", "b.png", "c.png"]
    ((path, sentence),) = prediction.failed
    assert path.name == "a2.png"
    assert "damaged" in sentence or "not an image" in sentence
    assert table(prediction.areas)["a"]["red mm2"] == ""  # no scale, no mm²


def test_labels_from_names(images: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no file name ends in a label"):
        predict_files(segmenter(), [images], tmp_path / "out", labels_from_names=True)
    (images / "a.png").rename(images / "a+0[010].png")
    prediction = predict_files(segmenter(), [images / "a+0[010].png"], tmp_path / "out", labels_from_names=True)
    assert table(prediction.areas)["a+0[010]"]["green %"] == "100.00"


def test_images_at_another_scale(images: Path, tmp_path: Path) -> None:
    prediction = predict_files(segmenter(mpp=1.0), [images / "a.png"], tmp_path / "out", mpp=0.5)
    mask = read_mask(tmp_path / "out" / "mask" / "a.png", TISSUES)
    assert mask.shape == (64, 64)
    assert float(table(prediction.areas)["a"]["red pixels"]) == pytest.approx(2048, rel=0.1)


def test_what_is_assumed_of_images_is_told(images: Path, tmp_path: Path) -> None:
    Image.open(images / "a.png").convert("CMYK").save(images / "d.tif")
    prediction = predict_files(segmenter(), [images], tmp_path / "out")
    assert prediction.notes == (("its CMYK is turned into RGB without a colour profile", 1),)


def test_what_would_not_fit_into_memory_is_refused_before_it_is_read(images: Path, tmp_path: Path) -> None:
    Image.new("1", (17_000, 17_000)).save(images / "large.png")
    prediction = predict_files(segmenter(), [images], tmp_path / "out")
    assert len(prediction.done) == 3
    ((path, sentence),) = prediction.failed
    assert path.name == "large.png"
    assert "more than 178,956,970 pixels, too many to be read at once" in sentence
    (images / "large.png").unlink()
    enlarged = predict_files(segmenter(mpp=0.01), [images], tmp_path / "enlarged", mpp=10.0)
    assert not enlarged.done
    assert "1e+03 times as many a side" in enlarged.failed[0][1]


def test_a_huge_image_is_done_in_strips(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.asarray(Image.open(images / "a.png").resize((640, 480)))).save(images / "large.png")
    predict_files(segmenter(), [images / "large.png"], tmp_path / "whole")
    for name in ("segmenter", "predict"):
        monkeypatch.setattr(f"histoproto.inference.{name}.HUGE", 10_000)
    monkeypatch.setattr("histoproto.inference.large.STRIP", 10_000)
    monkeypatch.setattr("histoproto.inference.predict.OVERLAY_SIDE", 64)
    prediction = predict_files(segmenter(), [images / "large.png"], tmp_path / "strips")
    whole, strips = (read_mask(tmp_path / name / "mask" / "large.png", TISSUES) for name in ("whole", "strips"))
    assert (whole == strips).mean() > 0.99
    with Image.open(tmp_path / "strips" / "overlay" / "large.png") as overlay:
        assert overlay.height < 120
    assert "in strips" in prediction.notes[0][0]


def test_mistakes_are_sentences(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no images"):
        find_images([])
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"would both be written as a\.png"):
        find_images([images, tmp_path / "a.png"])


def test_the_command(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_model", lambda run: (ColourNetwork(), colour_card()))
    app = typer.Typer()
    app.command()(predict)
    (images / "z.png").write_bytes(b"")
    out = tmp_path / "out"
    arguments = ["RUN", str(images), "--out", str(out), "--background", "activation", "--views", "6", "--mpp", "0.25"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ImageError)  # the command line makes it exit code 2
    assert str(result.exception) == "1 of 4 images could not be read; the others are done"
    assert "3 images segmented" in result.output
    assert "z.png is empty (0 bytes)" in result.output
    assert "does not know its µm/px" in result.output
    assert (out / "mask" / "c.png").is_file()
    wrong = CliRunner().invoke(app, ["RUN", str(images), "--out", str(out), "--views", "2"])
    assert isinstance(wrong.exception, SettingError)
    assert "views" in str(wrong.exception)
