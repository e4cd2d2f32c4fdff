"""Blocks of a map give its finer and its coarser pieces, and guesses stand where there is no block yet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from histoproto.studio.maps import Piece, Place, Pyramid, read_picture
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.records import SlideRow
from histoproto.studio.slide_map import SlideMap

SIDE = 4096  # pixels of a slide at 0.25 µm/px, so that a block of 256 pieces' pixels is 2048 of the slide's


@pytest.fixture
def map_(tmp_path: Path) -> SlideMap:
    """Of a slide of four blocks, tissue in three of them, and the guess that all of it is stroma."""
    project = Project.create(tmp_path / "project", ProjectSettings.of(["tumour", "stroma"], mpp=0.5, tile=128))
    tiles = [(x, y, 256.0, False) for x, y in ((0.0, 0.0), (2048.0, 512.0), (1024.0, 3072.0))]
    project.store.add_slide(SlideRow("s", tmp_path / "s.tif", 0.25, SIDE, SIDE - 1000), tiles)
    folder = project.folder / "rounds" / "0001"
    folder.mkdir(parents=True)
    np.savez(folder / "guesses.npz", tiles=[1, 2, 3], chances=np.float32([[0.1, 0.9]] * 3))
    return SlideMap(project, 1, project.store.slides()[0])


def drawn(height: int, width: int) -> Piece:
    """Tumour, but for a stripe of background; as sure of it as it is far to the right."""
    labels = np.zeros((height, width), np.uint8)
    labels[:, 100:200] = 2
    level = np.linspace(0, 255, width).astype(np.uint8)
    return Piece(labels, np.stack([np.tile(level, (height, 1)), 255 - np.tile(level, (height, 1))]))


def test_only_blocks_with_tissue_are_to_be_worked_out(map_: SlideMap) -> None:
    assert map_.level == Pyramid(SIDE, SIDE - 1000).top - 3 == 9
    assert map_.blocks == {Place(9, 0, 0), Place(9, 1, 0), Place(9, 0, 1)}


def test_a_slide_that_is_too_coarse_has_no_blocks(map_: SlideMap) -> None:
    coarse = SlideMap(map_.project, 1, SlideRow("s", Path("s.tif"), 2.5, SIDE, SIDE))
    assert coarse.level is None
    assert not coarse.blocks
    assert SlideMap(map_.project, 1, SlideRow("s", Path("s.tif"), 2.0, SIDE, SIDE)).level == 12
    assert SlideMap(map_.project, 1, SlideRow("s", Path("s.tif"), 0.25, 400, 300)).level == 8  # all of it in one piece


def test_finer_pieces_are_cut_from_the_block(map_: SlideMap) -> None:
    assert map_.near(Place(11, 0, 0)) is None
    map_.keep(Place(9, 0, 0), drawn(1024, 1024))
    for level, pixels in ((10, 2.0), (11, 1.0), (12, 0.5)):  # of the model per pixel of the piece
        picture = map_.near(Place(level, 0, 1))
        assert picture
        piece = read_picture(picture, 2)
        columns = ((np.arange(256) + 0.5) * pixels).astype(int)
        assert (piece.labels == np.where((columns >= 100) & (columns < 200), 2, 0)).all()
        np.testing.assert_allclose(piece.chances[0].mean(axis=0), columns / 1023 * 255, atol=3)
    last = map_.near(Place(11, 3, 2))  # another part of it
    assert last
    assert not (read_picture(last, 2).labels).any()
    np.testing.assert_allclose(read_picture(last, 2).chances[0][:, [0, -1]].mean(axis=0), [191, 255], atol=3)


def test_from_afar_blocks_take_the_place_of_guesses(map_: SlideMap) -> None:
    def seen(level: int = 8) -> tuple[np.ndarray, bool]:
        picture, whole = map_.seen_from_afar(Place(level, 0, 0)) or (b"", False)
        return read_picture(picture, 2).labels, whole

    labels, whole = seen()
    assert labels.shape == (194, 256)
    assert not whole
    assert (labels[:16, :16] == 1).all()
    assert (labels[20:120, 20:120] == 2).all()
    map_.keep(Place(9, 0, 0), drawn(1024, 1024))
    labels, whole = seen()
    assert not whole
    assert (labels[:128, [0, 11, 26, 127]] == 0).all()  # the block
    assert (labels[:128, 13:25] == 2).all()
    assert (labels[32:48, 128:144] == 1).all()  # a guess beside it
    map_.keep(Place(9, 1, 0), drawn(1024, 1024))
    map_.keep(Place(9, 0, 1), drawn(524, 1024))
    labels, whole = seen()
    assert whole
    assert (labels[:128, 128] == 0).all()
    assert (labels[128:, 128:] == 2).all()  # there is no tissue
    map_.path(Place(9, 0, 0)).unlink()
    assert (seen()[0] == labels).all()  # it is kept
    assert seen(7)[1]  # and what is coarser comes of it


def test_the_guesses_of_a_slide_that_is_too_coarse_stay(map_: SlideMap) -> None:
    coarse = SlideMap(map_.project, 1, SlideRow("s", Path("s.tif"), 2.5, SIDE, SIDE))
    picture, whole = coarse.seen_from_afar(Place(12, 0, 0)) or (b"", False)
    assert whole
    assert (read_picture(picture, 2).labels[:256, :256] == 1).all()
    assert coarse.seen_from_afar(Place(12, 99, 0)) is None
