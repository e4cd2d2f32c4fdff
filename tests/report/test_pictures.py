"""Overlays, outlines and the picture of errors."""

from __future__ import annotations

import numpy as np

from histoproto.report.pictures import ERROR_COLOURS, data_uri, draw_outline, error_picture, heat, shrink, stretch
from report.coloured import PURE, decode, paint


def test_pictures() -> None:
    maps = np.stack([np.array([[-4.0, 0.0], [2.0, 4.0]]), np.full((2, 2), -5.0)])
    stretched = stretch(maps, np.array([True, False]))
    assert np.allclose(stretched, [[[0, 0.5], [0.75, 1]], [[0, 0], [0, 0]]])
    image = np.full((32, 32, 3), 200, dtype=np.uint8)
    warm = heat(image, np.linspace(0, 1, 32 * 32).reshape(32, 32))
    assert warm.shape == image.shape
    assert (warm[0, 0] == warm[0, 0, 0]).all() or np.ptp(warm[0, 0].astype(int)) < 40
    assert np.ptp(warm[-1, -1].astype(int)) > 60
    mask = np.zeros((32, 32), dtype=bool)
    mask[8:20, 8:20] = True
    drawn = (draw_outline(image, mask, PURE[0]) == PURE[0]).all(axis=2)
    assert drawn[8, 8:20].all()
    assert not drawn[14, 14]
    assert not drawn[:6].any()
    faded = draw_outline(image, mask, PURE[0], fade=0.2)
    assert (faded[14, 14] == 200).all()
    assert (faded[:6] == 211).all()  # a fifth of the way to white
    labels = paint((np.arange(64 * 64) % 3).astype(np.uint8).reshape(64, 64))
    assert (decode(data_uri(labels, exact=True)) == labels).all()
    assert shrink(labels, 32, exact=True).shape == (32, 32, 3)
    assert set(map(tuple, shrink(labels, 32, exact=True).reshape(-1, 3))) <= set(map(tuple, PURE))


def test_errors_are_told_apart() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, 3], [0, 0, 1, 1]], dtype=np.uint8)  # tissue 2 is not there
    found = np.array([[0, 1, 1, 1], [2, 0, 0, 2], [0, 3, 1, 1]], dtype=np.uint8)
    right, other, absent, edge, unscored = ERROR_COLOURS.values()
    expected = [[right, edge, right, edge], [absent, edge, edge, unscored], [right, edge, right, right]]
    assert error_picture(found, truth, 3).tolist() == np.array(expected).tolist()
    assert error_picture(np.array([[1, 3]], dtype=np.uint8), np.array([[0, 0]], dtype=np.uint8), 3).tolist() == [
        [list(absent), list(absent)]
    ]
    swapped = np.array([[1, 0, 0, 1, 1]], dtype=np.uint8)
    plain = np.array([[0, 0, 0, 1, 1]], dtype=np.uint8)
    assert error_picture(swapped, plain, 2)[0, 0].tolist() == list(other)
