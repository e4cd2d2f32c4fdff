from __future__ import annotations

import numpy as np
from scipy import ndimage

from histoproto.slides.measures.components import Components
from slides.measures.drawn import Labels, disc


def sizes(labels: Labels, tissues: int, step: int) -> list[list[int]]:
    found = Components(tissues)
    for top in range(0, len(labels), step):
        found.add(labels[top : top + step])
    return [each.tolist() for each in found.sizes()]


def test_strips_give_what_the_whole_gives() -> None:
    """Against scipy's labelling of the whole map, for noise in which regions wind across every seam."""
    rng = np.random.default_rng(1)
    labels = ndimage.gaussian_filter(rng.normal(size=(4, 90, 70)), (0, 2, 2)).argmax(axis=0).astype(np.uint8)
    wanted = []
    for tissue in range(3):
        parts, count = ndimage.label(labels == tissue)
        wanted.append(sorted(np.bincount(parts.ravel(), minlength=count + 1)[1:].tolist()))
    assert all(len(each) > 5 for each in wanted)
    assert all(sizes(labels, 3, step) == wanted for step in (1, 2, 7, 32, 90))


def test_rings_and_a_horseshoe() -> None:
    """Two legs of a horseshoe become one region only at its lower end; a ring goes around what is in it."""
    labels = np.full((120, 200), 2, np.uint8)
    labels[10:100, 10:20] = labels[10:100, 40:50] = labels[90:100, 10:50] = 0
    labels[disc(120, 200, 60, 130, 50)] = 1
    labels[disc(120, 200, 60, 130, 30)] = 0
    labels[disc(120, 200, 60, 130, 10)] = 1
    horseshoe = 2 * 90 * 10 + 10 * 20
    rings = [int(disc(120, 200, 60, 130, radius).sum()) for radius in (10, 30, 50)]
    assert sizes(labels, 2, 8) == [sorted([horseshoe, rings[1] - rings[0]]), sorted([rings[0], rings[2] - rings[1]])]


def test_corners_do_not_connect() -> None:
    assert sizes(np.array([[0, 1], [1, 0]], np.uint8), 2, 1) == [[1, 1], [1, 1]]


def test_nothing() -> None:
    assert [each.tolist() for each in Components(2).sizes()] == [[], []]
    assert sizes(np.full((9, 9), 2, np.uint8), 2, 4) == [[], []]
