"""Doubt and strangeness of slides: uncertain places, shares of areas, layers, and that slides and images agree."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from fakes import TISSUES, ColourNetwork, colour_card
from histoproto.config import InferenceSettings
from histoproto.data.images import write_image
from histoproto.errors import TissueError
from histoproto.inference.doubt import DOUBTFUL
from histoproto.inference.predict import predict_files
from histoproto.inference.segmenter import Segmentation, Segmenter
from histoproto.inference.strangeness import Strangeness, fit_spread
from histoproto.inference.windows import CELL
from histoproto.model.network import ClassMaps
from histoproto.slides.export import read_areas, read_probabilities
from histoproto.slides.export.summary import write_summary
from histoproto.slides.labelling.trust import Trust
from histoproto.slides.options import SlideOptions
from histoproto.slides.regions.geojson import read_geojson
from histoproto.slides.segment import segment_slide
from histoproto.slides.task import SlideTask
from histoproto.tissue import TissueSet

SIDE = 256


class PooledNetwork(ColourNetwork):
    """Tells the mean colour of an image as its features."""

    def class_maps(self, x: Tensor) -> ClassMaps:
        return super().class_maps(x)._replace(pooled=x.mean(dim=(2, 3)))


@pytest.fixture
def segmenter() -> Segmenter:
    """Knows dark images; bright ones are strange to it."""
    dark = 0.2 + 0.02 * torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    looks = torch.randn(100, 4, generator=torch.Generator().manual_seed(1))
    spreads = (fit_spread(dark), fit_spread(looks[:, :3]), fit_spread(looks[:, 3:]))
    strangeness = Strangeness(spreads, (6.0, 100.0, 1e-6))  # any sharpness is strange, no stain
    card = colour_card(64, mpp=1.0)
    return Segmenter(PooledNetwork(), card, "cpu", strangeness)  # type: ignore[arg-type]


@pytest.fixture
def image(tmp_path: Path) -> NDArray[np.uint8]:
    """Left: dark; right: bright. Everywhere one colour leads, by much or by little."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(SIDE, SIDE, 3)), (12, 12, 0))
    pixels = 51 + 12 * noise / noise.std()
    pixels[:, SIDE // 2 :] += 140
    found = np.clip(pixels, 0, 255).astype(np.uint8)
    write_image(tmp_path / "slide.png", found)
    return found


def segmented(segmenter: Segmenter, folder: Path, **options: object) -> Path:
    out = folder / "out" / "slide"
    regions = folder / "all.png"
    write_image(regions, np.full((SIDE, SIDE, 3), 255, np.uint8))
    settings = SlideOptions(background="none", min_area_um2=0, **options)  # type: ignore[arg-type]
    segment_slide(segmenter, SlideTask(folder / "slide.png", 1.0, regions), out, settings)
    return out


def test_slides_and_images_leave_the_same_places_uncertain(
    segmenter: Segmenter, image: NDArray[np.uint8], tmp_path: Path
) -> None:
    settings = InferenceSettings(background="none", abstain=0.5)
    found = segmenter.segment(image, settings=settings, doubt=True)
    assert isinstance(found, Segmentation)
    uncertain = found.labels == TISSUES.uncertain_index
    assert 0.02 < uncertain.mean() < 0.9
    assert found.doubt is not None
    plain = segmenter.segment(image, settings=InferenceSettings(background="none"))
    assert isinstance(plain, Segmentation)
    np.testing.assert_array_equal(found.labels[~uncertain], plain.labels[~uncertain])
    assert (found.doubt[uncertain] > 0.5).all()
    out = segmented(segmenter, tmp_path, abstain=0.5)
    labels = tifffile.imread(out / "tissue.ome.tif")
    assert (labels != found.labels).mean() < 0.005
    rows = {row.tissue: row for row in read_areas(out / "areas.csv") if row.region == "slide"}
    outlined = sum(shape.area for shape, tissue in read_geojson(out / "tissue.geojson") if tissue == "uncertain")
    assert rows["uncertain"].pixels == (labels == 4).sum() == pytest.approx(outlined, rel=0.05)
    assert sum(row.percent for name, row in rows.items() if name != "background") == pytest.approx(100, abs=0.01)
    predict_files(segmenter, [tmp_path / "slide.png"], tmp_path / "predicted", settings)
    with (tmp_path / "predicted" / "areas.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert int(row["uncertain pixels"]) == uncertain.sum()


def test_shares_of_areas_are_those_of_the_layers(
    segmenter: Segmenter, image: NDArray[np.uint8], tmp_path: Path
) -> None:
    out = segmented(segmenter, tmp_path, uncertainty=True)
    layers = read_probabilities(out / "uncertainty.zarr")[:]
    np.testing.assert_array_equal(tifffile.imread(out / "uncertainty.ome.tif"), layers)
    assert layers.shape == (2, SIDE // CELL, SIDE // CELL)
    doubt, strange = (np.kron(layer, np.ones((CELL, CELL), np.uint8)) for layer in layers)
    labels = tifffile.imread(out / "tissue.ome.tif")
    for row in read_areas(out / "areas.csv"):
        if row.region == "slide" and row.tissue in TISSUES.names and row.pixels:
            own = labels == TISSUES.index(row.tissue)
            assert row.doubtful == pytest.approx(100 * (doubt[own] > 255 * (1 - DOUBTFUL)).mean(), abs=0.01)
            assert row.strange == pytest.approx(100 * (strange[own] > 100).mean(), abs=0.01)
    assert (strange[:, : SIDE // 2 - 64] <= 100).all()
    assert (strange[:, SIDE // 2 + 64 :] > 100).all()
    trust = json.loads((out / "record.json").read_text())["trust"]
    assert trust["strange"] == pytest.approx(100 * (strange > 100).mean(), abs=0.01)
    assert (trust["stain"], trust["sharpness"]) == (0, 100)
    assert trust["sentences"][0].startswith(f"unlike the training patches: {trust['strange']:.0f} % of its tissue")
    assert "sharpness is unlike" in trust["sentences"][1]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    write_summary(out.parent)
    with (out.parent / "summary.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert float(row["strange %"]) == trust["strange"]
    assert "unlike the training patches" in row["note"]
    assert "unlike the training patches" in (out.parent / "summary.html").read_text(encoding="utf-8")


def test_a_model_that_knows_nothing_says_so(image: NDArray[np.uint8], tmp_path: Path) -> None:
    plain = Segmenter(ColourNetwork(), colour_card(64, mpp=1.0), device="cpu")  # type: ignore[arg-type]
    out = segmented(plain, tmp_path, uncertainty=True)
    assert read_probabilities(out / "uncertainty.zarr").shape[0] == 1
    record = json.loads((out / "record.json").read_text())
    assert record["trust"]["strange"] is None
    assert any("nothing is known" in note for note in record["notes"])
    assert any("never calibrated" in note for note in record["notes"])
    found = plain.segment(image)
    assert isinstance(found, Segmentation)
    assert found.strange is None


def test_flags_are_those_of_the_cells_of_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    doubt, strange = rng.random((5, 6)), 2 * rng.random((5, 6))
    covered = np.ones((5, 6), bool)
    with Trust.create(tmp_path, 5, 6, known=True) as trust:
        trust.write(0, doubt[:2], strange[:2], covered[:2])
        trust.write(2, doubt[2:], strange[2:], covered[2:])
        doubtful, unlike = trust.flags(3, 20, 45, CELL)
    assert unlike is not None
    for y, x in ((0, 0), (4, 44), (19, 17), (12, 30)):
        assert doubtful[y, x] == (doubt[(y + 3) // CELL, x // CELL] > 1 - DOUBTFUL)
        assert unlike[y, x] == (strange[(y + 3) // CELL, x // CELL] > 1)
    assert not list(tmp_path.iterdir())


def test_no_tissue_is_called_uncertain() -> None:
    for name in ("uncertain", "Uncertain"):
        with pytest.raises(TissueError, match="no class may be called"):
            TissueSet.of("tumour", name)
    assert TissueSet.of("a", "b").uncertain_value == 255
    assert TISSUES.palette().shape == (5, 3)
