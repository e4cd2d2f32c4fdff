"""What is said of a prototype is kept, found again in a later model, and can be taken back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.task import SlideTask
from histoproto.studio import learning
from histoproto.studio.adding import add_slides
from histoproto.studio.gallery import Gallery, strongest_shares
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.prototypes import Remembered, recognised

EYE = np.eye(4, dtype=np.float32)
FOUND = np.stack([EYE[:2], EYE[2:]])  # two tissues with two prototypes each
NAMES = ["tumour", "stroma"]


def test_a_note_is_about_the_prototype_most_like_it() -> None:
    near = (EYE[3] + 0.2 * EYE[2]) / np.linalg.norm(EYE[3] + 0.2 * EYE[2])
    note = Remembered("stroma", near.tolist(), "desmoplastic")
    assert recognised([note], FOUND, NAMES) == {(1, 1): 0}
    assert recognised([replace(note, tissue="tumour")], FOUND, NAMES) == {}  # nothing there is like it
    assert recognised([replace(note, tissue="fat")], FOUND, NAMES) == {}


def test_shares_are_of_the_cells_of_a_tissue_where_it_is_found() -> None:
    maps = np.zeros((1, 2, 2, 2, 2), np.float32)
    maps[0, 0, 0] = [[3, 3], [0, 0]]
    maps[0, 0, 1] = [[0, 0], [2, 0]]
    maps[0, 1, 1] = [[0, 0], [0, 1]]
    shares = strongest_shares(maps, np.array([[True, True]]))
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 3], [0, 1]])
    active = torch.tensor([[True, True], [True, False]])
    assert strongest_shares(maps, np.array([[True, True]]), active)[1].sum() <= 1
    alone = strongest_shares(maps, np.array([[False, True]]))
    assert not alone[0].any()  # the tile has no tumour


def test_a_prototype_says_where_it_fires_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path / "project", ProjectSettings.of(NAMES, mpp=1.0, tile=64, checks=0.0))
    for number in (1, 2):
        path = tmp_path / f"s{number}.tif"
        write_phantom_slide(path, width=320, height=256, mpp=1.0, field=128, distinct=2, glass=0.0, seed=number)
        add_slides(project, [SlideTask(path)])
    for tile, ticks in zip([*project.store.tiles()][::3], [["tumour"], ["stroma"], []] * 4, strict=False):
        project.store.say("AB", tile, "label", ticks)
    monkeypatch.setattr(learning, "STEPS", 3)
    learning.learn(project)
    gallery = Gallery(project)
    network, card, tiles, maps = gallery._looked(1)
    second = np.array([project.store.tile(tile).slide == "s2" for tile in tiles.tolist()])
    gallery._kept = 1, network, card, tiles, np.where(second[:, None, None, None, None], maps + 100, maps)
    assert set(second.tolist()) == {True, False}
    for one in gallery.all(1):
        own = maps[:, one["tissue"], one["number"]].max(axis=(1, 2))
        best = project.store.tile(int(tiles[np.where(second, own, -np.inf).argmax()]))
        assert one["tiles"][0] == best.id
        assert one["at"] == {"slide": "s2", "x": best.x + 32, "y": best.y + 32}
