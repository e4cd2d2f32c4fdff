"""How much of each tile of a grid lies in a scope, against asking for one tile after the other."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from histoproto.slides.labelling.scope import DrawnScope, MaskScope, Scope
from histoproto.slides.regions.geojson import Region


def scopes() -> list[Scope]:
    mask = np.random.default_rng(0).random((70, 90)) > 0.5
    circle = Region(shapely.Point(4000, 3000).buffer(2500), None)
    return [MaskScope(mask, (7000, 9000)), DrawnScope([circle])]


@pytest.mark.parametrize("scope", scopes(), ids=["mask", "drawn"])
def test_shares_are_those_of_each_tile(scope: Scope) -> None:
    tops, lefts = np.array([0.0, 512, 2000, 6744]), np.array([0.0, 3000, 8744])
    where = np.ones((4, 3), np.bool_)
    where[2, 1] = False
    alone = [[scope.inside(left, top, 16, 16, 16.0).mean() for left in lefts] for top in tops]
    np.testing.assert_allclose(scope.shares(tops, lefts, where, 16, 16.0), np.array(alone) * where)


@pytest.mark.parametrize("scope", scopes(), ids=["mask", "drawn"])
def test_a_slide_smaller_than_a_tile_has_none(scope: Scope) -> None:
    assert scope.shares(np.array([0.0]), np.empty(0), np.ones((1, 0), np.bool_), 16, 16.0).shape == (1, 0)
    assert scope.shares(np.empty(0), np.array([0.0]), np.ones((0, 1), np.bool_), 16, 16.0).shape == (0, 1)
