"""`predict` writes over nothing of the user's, and over its own results as often as one likes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakes import ColourNetwork, colour_card
from histoproto.data.images import write_image
from histoproto.errors import OutputError, RunError
from histoproto.inference.predict import predict_files
from histoproto.inference.segmenter import Segmenter
from histoproto.lock import folder_lock


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(ColourNetwork(), colour_card(), device="cpu")  # type: ignore[arg-type]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with images and masks of a person's making."""
    for name in ("img", "mask"):
        for index in range(2):
            write_image(tmp_path / "test" / name / f"{index}.png", np.full((64, 64, 3), (200, 20, 20), np.uint8))
    return tmp_path / "test"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("inputs", ["img", "mask"])
def test_masks_and_images_of_others_stay(segmenter: Segmenter, data: Path, inputs: str) -> None:
    before = contents(data)
    with pytest.raises(OutputError, match=r"mask/0\.png (is there already|would be written over by its own result)"):
        predict_files(segmenter, [data / inputs], data)
    assert contents(data) == before


def test_a_table_of_others_stays(segmenter: Segmenter, data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "areas.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"areas\.csv is there already"):
        predict_files(segmenter, [data / "img"], tmp_path / "out")
    assert contents(tmp_path / "out") == {"areas.csv": b"mine"}


def test_the_same_command_may_be_given_again_and_own_results_are_no_inputs(
    segmenter: Segmenter, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        predict_files(segmenter, [data / "img"], out)
    before = contents(out)
    with pytest.raises(OutputError, match=r"overlay/0\.png would be written over by its own result"):
        predict_files(segmenter, [out / "overlay"], out)
    assert contents(out) == before
    write_image(out / "mask" / "1.png", np.zeros((64, 64, 3), np.uint8))  # corrected by hand
    corrected = (out / "mask" / "1.png").read_bytes()
    with pytest.raises(OutputError, match=r"mask/1\.png is there already and was changed since"):
        predict_files(segmenter, [data / "img"], out)
    assert (out / "mask" / "1.png").read_bytes() == corrected


def test_links_to_inputs_are_seen_through(segmenter: Segmenter, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "overlay").symlink_to(data / "img")
    with pytest.raises(OutputError, match="would be written over by its own result"):
        predict_files(segmenter, [data / "img"], out)


def test_a_second_process_is_refused(segmenter: Segmenter, data: Path, tmp_path: Path) -> None:
    with folder_lock(tmp_path / "out"), pytest.raises(RunError, match="at work in"):
        predict_files(segmenter, [data / "img"], tmp_path / "out")
