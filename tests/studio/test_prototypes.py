"""What is said of a prototype is kept, found again in a later model, and can be taken back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from histoproto.studio.gallery import strongest_shares
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
