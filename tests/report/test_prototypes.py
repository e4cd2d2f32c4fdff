"""Prototypes are shown where they fire, and measured."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fakes import TISSUES, ColourNetwork, colour_card
from histoproto.data.images import write_image, write_mask
from histoproto.data.layouts import open_data
from histoproto.errors import TissueError
from histoproto.report.prototype_page import make_prototype_gallery, write_prototypes
from histoproto.report.prototypes import collect_maps, measure, places_of, views_of
from histoproto.tissue import TissueSet
from report.coloured import PURE, SIZE, decode


def test_prototypes_are_shown_where_they_fire(data: Path) -> None:
    folder, card = open_data(data), colour_card(SIZE)
    found = collect_maps(ColourNetwork(), card, folder.test, TISSUES, most=100)
    assert found.maps.shape == (12, 3, 2, 4, 4)
    assert found.truth is not None
    for tissue in range(3):
        places = places_of(found, card, tissue, 0, 4)
        assert len({place.patch for place in places}) == 4
        values = [place.activation for place in places]
        assert values == sorted(values, reverse=True)
        assert places[0].truth == TISSUES.tissues[tissue].colour
        assert decode(places[0].picture).shape == (144, 144, 3)
        middle = decode(places[0].picture).reshape(-1, 3).astype(int)
        assert (np.abs(middle - PURE[tissue]).sum(axis=1) < 60).mean() > 0.2
    scores = measure(found)
    assert scores.purity[:, 0].min() >= 0.5  # one patch in twelve is mislabelled
    assert scores.purity[:, 1].max() < 0.2


def test_prototypes_without_masks_use_the_labels(data: Path) -> None:
    for path in (data / "test" / "img").iterdir():
        write_image(data / "train" / f"{path.stem}[110].png", np.array(Image.open(path)))
    found = collect_maps(ColourNetwork(), colour_card(SIZE), open_data(data).train, TISSUES, most=100)
    assert found.truth is None
    assert found.named.tolist() == [[True, True, False]] * 12
    scores = measure(found)
    assert np.isnan(scores.purity).all()
    assert scores.patches[2] == 0


def test_tissues_of_another_order_are_translated(data: Path) -> None:
    card = colour_card(SIZE, tissues=TissueSet.of("blue", "red", "green"))
    found = collect_maps(ColourNetwork(), card, open_data(data).test[:1], TISSUES, most=10)
    assert found.truth is not None
    assert found.truth[0, 0, 0] == card.tissues.index("red")
    with pytest.raises(TissueError, match="'red'"):
        collect_maps(ColourNetwork(), colour_card(SIZE, tissues=TissueSet.of("x")), open_data(data).test, TISSUES, 10)


def test_large_images_are_seen_in_pieces(data: Path) -> None:
    write_image(data / "test" / "img" / "large.png", np.zeros((100, 200, 3), dtype=np.uint8))
    write_mask(data / "test" / "mask" / "large.png", np.zeros((100, 200), dtype=np.uint8), TISSUES)
    (patch,) = [patch for patch in open_data(data).test if patch.image.stem == "large"]
    views = views_of([patch], SIZE)
    assert len(views) == 2 * 4
    found = collect_maps(ColourNetwork(), colour_card(SIZE), [patch], TISSUES, most=5)
    assert found.maps.shape == (5, 3, 2, 4, 4)
    assert torch.isfinite(found.maps).all()


def test_of_what_was_in_every_patch_it_is_said_that_prototypes_have_no_say(data: Path) -> None:
    card = colour_card(SIZE).model_copy(update={"remainder": (1,)})
    rows = make_prototype_gallery(ColourNetwork(), card, open_data(data)).tissues
    assert ["no say" in tissue.summary for tissue in rows] == [False, True, False]


def test_prototypes_on_their_own(run: Path, data: Path, tmp_path: Path) -> None:
    page = write_prototypes(run, data, tmp_path / "out")
    assert page.read_text(encoding="utf-8").count('<div class="prototype">') == 6
    with (tmp_path / "out" / "prototypes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["tissue"], row["prototype"]) for row in rows[:3]] == [("red", "1"), ("red", "2"), ("green", "1")]
    scores = measure(collect_maps(ColourNetwork(), colour_card(SIZE), open_data(data).test, TISSUES, 400))
    assert [float(row["purity"]) for row in rows] == pytest.approx(scores.purity.ravel().tolist(), abs=1e-4)
    with (tmp_path / "out" / "tissues.csv").open(newline="") as file:
        tissues = list(csv.DictReader(file))
    assert [float(row["overlap"]) for row in tissues] == pytest.approx(scores.overlap.tolist(), abs=1e-4)
    assert [float(row["coverage"]) for row in tissues] == pytest.approx(scores.coverage.tolist(), abs=1e-4)
    assert list(tissues[0]) == ["tissue", "patches", "coverage", "overlap", "effective_prototypes"]
