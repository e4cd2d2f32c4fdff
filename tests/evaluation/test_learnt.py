from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import TISSUES, tiny_run
from histoproto.data.images import write_image, write_mask
from histoproto.errors import DataError
from histoproto.evaluation.learnt import holds, learnt_images
from histoproto.slides.scoring import MAPS_FILE, evaluate_maps


@pytest.fixture
def regions(tmp_path: Path) -> Path:
    """Two images, 00 and S1."""
    folder = tmp_path / "regions"
    folder.mkdir()
    TISSUES.write(folder / "classes.yaml")
    rng = np.random.default_rng(0)
    for name in ("00", "S1"):
        write_image(folder / "img" / f"{name}.png", rng.integers(0, 200, (90, 130, 3)).astype(np.uint8))
        write_mask(folder / "mask" / f"{name}.png", rng.integers(0, 3, (90, 130)).astype(np.uint8), TISSUES)
    return folder


def run_with(folder: Path, patches: dict[str, np.ndarray]) -> Path:
    """A run that was trained on these patches."""
    data = folder / "data"
    for name, pixels in patches.items():
        write_image(data / "train" / f"{name}[110].png", pixels)
    TISSUES.write(data / "classes.yaml")
    run = tiny_run(folder / "run", mpp=0.5)
    (run / "record.json").write_text(json.dumps({"data": str(data)}))
    return run


def test_a_patch_is_found_where_it_is_and_nowhere_else() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 3, (60, 70, 3)).astype(np.uint8)  # few colours: corners alone say little
    assert all(holds(image, image[y : y + 20, x : x + 24]) for y, x in ((0, 0), (40, 46), (13, 7)))
    changed = image[5:25, 5:29].copy()
    changed[3, 4] += 1
    assert not holds(image, changed)
    assert not holds(image[:10], image[:20, :20])


def test_a_name_decides_and_a_number_is_asked_for_its_pixels(regions: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    other = rng.integers(0, 200, (64, 64, 3)).astype(np.uint8)
    files: dict[str, Path | None] = {name: regions / "img" / f"{name}.png" for name in ("00", "S1")}
    assert learnt_images(run_with(tmp_path / "none", {"00+0": other, "S2+0": other}), files) == []
    found = learnt_images(run_with(tmp_path / "name", {"S1+3": other}), files)
    assert len(found) == 1
    assert found[0].endswith(": S1")
    cut = np.asarray(Image.open(regions / "img" / "00.png"))[10:74, 20:84]
    assert learnt_images(run_with(tmp_path / "pixels", {"00+0": other, "00+1": cut}), files)[0].endswith(": 00")
    assert learnt_images(run_with(tmp_path / "slide", {"S1-100-200-": other}), {"S1": None})[0].endswith(": S1")
    assert learnt_images(tiny_run(tmp_path / "unknown"), files) == []


def test_maps_of_what_was_learnt_are_refused_or_told(regions: Path, tmp_path: Path) -> None:
    run = run_with(tmp_path, {"S1+0": np.full((64, 64, 3), 90, np.uint8)})
    with pytest.raises(DataError, match=r"1 of 2 images.*S1.*--allow-leak"):
        evaluate_maps(run, regions, mpp=0.5)
    assert not (run / MAPS_FILE).exists()
    result = evaluate_maps(run, regions, mpp=0.5, allow_leak=True)
    assert len(result["data"]["leaks"]) == 1
    assert json.loads((run / MAPS_FILE).read_text())["honest"][str(regions)]["data"]["leaks"] == result["data"]["leaks"]
