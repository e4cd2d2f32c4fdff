from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.outlines.runs import connected_runs
from histoproto.slides.outlines.sieve import clean, sieve, sieved_rows
from histoproto.slides.outlines.tracing import outlines
from histoproto.slides.regions.polygons import fill_polygons

Labels = NDArray[np.uint8]


def random_maps(count: int, side: int, labels: int, coarse: int = 1) -> list[Labels]:
    rng = np.random.default_rng(0)
    maps = []
    for _ in range(count):
        height, width = rng.integers(1, side, 2)
        small = rng.integers(0, labels, (height // coarse + 1, width // coarse + 1), np.uint8)
        maps.append(small.repeat(coarse, 0).repeat(coarse, 1)[:height, :width])
    return maps


def in_strips(labels: Labels, step: int) -> list[tuple[int, Labels]]:
    return [(top, labels[top : top + step]) for top in range(0, len(labels), step)]


@pytest.mark.parametrize("step", [1, 3, 100])
@pytest.mark.parametrize("labels", [2, 4])
def test_outlines_are_exact_and_each_region_has_one(labels: int, step: int) -> None:
    """Random maps are full of regions that touch at corners, and of holes in holes."""
    background = labels - 1
    for truth in random_maps(60, 14, labels):
        found = list(outlines(in_strips(truth, step), background))
        y, x = np.mgrid[: truth.shape[0], : truth.shape[1]] + 0.5
        drawn = np.full(truth.shape, background, np.uint8)
        for polygon, label in found:
            inside = shapely.contains_xy(polygon, x, y)
            assert polygon.is_valid
            assert polygon.area == inside.sum()
            assert (drawn[inside] == background).all()  # no two overlap
            drawn[inside] = label
        assert np.array_equal(drawn, truth)
        assert len(found) == sum(ndimage.label(truth == tissue)[1] for tissue in range(background))


def test_a_region_that_grows_too_large_is_given_in_pieces() -> None:
    comb = np.zeros((40, 41), np.uint8)
    comb[1:, 1::2] = 1
    pieces = list(outlines(in_strips(comb, 4), 1, largest=100))
    assert len(pieces) > 1
    assert all(label == 0 and shapely.get_num_coordinates(polygon) <= 400 for polygon, label in pieces)
    assert sum(polygon.area for polygon, _ in pieces) == (comb == 0).sum()
    assert len(list(outlines(in_strips(comb, 4), 1))) == 1


def test_simplified_neighbours_keep_their_common_border() -> None:
    rng = np.random.default_rng(1)
    noise = np.stack([ndimage.gaussian_filter(rng.normal(size=(300, 400)), 12) for _ in range(4)])
    truth = noise.argmax(0).astype(np.uint8)
    exact = [polygon for polygon, _ in outlines(in_strips(truth, 64), 3)]
    simple = [polygon for polygon, _ in outlines(in_strips(truth, 64), 3, tolerance=2.0)]
    assert len(simple) == len(exact)
    assert shapely.get_num_coordinates(simple).sum() < 0.3 * shapely.get_num_coordinates(exact).sum()
    assert shapely.is_valid(simple).all()
    # Neighbours overlap nowhere and leave no gap: the area of all together is the sum of their areas.
    assert shapely.union_all(simple).area == pytest.approx(shapely.area(simple).sum(), rel=1e-9)
    assert shapely.area(shapely.get_parts(shapely.coverage_invalid_edges(simple))).sum() == 0


def test_components_are_those_of_scipy() -> None:
    for labels in random_maps(60, 20, 3):
        runs = connected_runs(labels)
        assert np.array_equal(runs.paint(runs.labels, len(labels)), labels)
        components = np.repeat(runs.components, runs.lengths).reshape(labels.shape)
        expected, count = np.zeros(labels.shape, int), 0
        for label in range(3):
            found, number = ndimage.label(labels == label)
            expected += np.where(found > 0, found + count, 0)
            count += number
        assert runs.count == count
        # One to one: as many pairs of both as there are of either.
        assert len(np.unique(np.stack([components, expected]).reshape(2, -1), axis=1).T) == count


def test_border_lengths_are_those_of_the_pixels() -> None:
    for labels in random_maps(30, 12, 3):
        runs = connected_runs(labels)
        first, second, length = runs.borders()
        pixels = runs.at(np.arange(labels.size)).reshape(labels.shape)
        expected: dict[tuple[int, int], int] = {}
        for here, there in [(pixels[:-1], pixels[1:]), (pixels[:, :-1], pixels[:, 1:])]:
            for pair in zip(here.flat, there.flat, strict=True):
                if pair[0] != pair[1]:
                    expected[pair] = expected.get(pair, 0) + 1
        found = zip(first.tolist(), second.tolist(), length.tolist(), strict=True)
        assert {(a, b): number for a, b, number in found} == expected


def smallest_region(labels: Labels) -> int:
    runs = connected_runs(labels)
    return int(np.bincount(runs.components, weights=runs.lengths).min())


def test_the_sieve_leaves_no_speck_and_moves_no_other_border() -> None:
    for labels in random_maps(40, 60, 3, coarse=6):
        noisy = labels.copy()
        rng = np.random.default_rng(labels.size)
        noisy[rng.random(labels.shape) < 0.03] = 2
        sieved = sieve(noisy, 9)
        if labels.size >= 9:
            assert smallest_region(sieved) >= 9 or (np.unique(sieved) == np.unique(noisy)).all()
        runs = connected_runs(noisy)
        sizes = np.bincount(runs.components, weights=runs.lengths)
        large = np.repeat(sizes[runs.components] >= 9, runs.lengths).reshape(labels.shape)
        assert np.array_equal(sieved[large], noisy[large])


def test_a_speck_takes_the_label_it_has_most_border_with() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[:, 5:] = 1
    labels[4, 4:7] = 2  # one pixel and two sides of it among the zeros, two among the ones
    expected = np.where(labels == 2, 1, labels)
    assert np.array_equal(sieve(labels, 4), expected)
    assert np.array_equal(sieve(labels, 3), labels)
    assert np.array_equal(sieve(labels[:5], 4, open_bottom=True), labels[:5])
    assert np.array_equal(sieve(labels[4:], 4, open_top=True), labels[4:])


def test_strips_are_sieved_as_the_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    labels = (ndimage.gaussian_filter(rng.normal(size=(150, 80)), 3) > 0).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.02] = 2
    with LabelRaster.create(tmp_path / "labels", *labels.shape) as raster:
        raster.write(0, 0, labels)
        whole = sieve(labels, 12)
        assert smallest_region(whole) >= 12
        for step in (1, 7, 64, 1000):
            strips = list(sieved_rows(raster, 12, step))
            assert [top for top, _ in strips] == list(range(0, 150, step))
            sieved = np.concatenate([strip for _, strip in strips])
            assert smallest_region(sieved) >= 12
            # Where specks touch each other, it may matter which of them the strip knows to be one.
            assert (sieved == whole).mean() > 0.999
        assert np.array_equal(np.concatenate([strip for _, strip in sieved_rows(raster, 1, 50)]), labels)


def test_polygons_are_filled_by_their_pixel_centres() -> None:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:40, :50] + 0.5
    for _ in range(40):
        corners = rng.uniform(-10, 60, (2, 4, 2))
        polygons = [shapely.convex_hull(shapely.multipoints(points)) for points in corners]
        polygons[0] = polygons[0].difference(shapely.Point(20, 20).buffer(6))
        expected = shapely.contains_xy(shapely.union_all(polygons), x, y)
        filled = fill_polygons(polygons, 40, 50)
        assert np.array_equal(filled, expected)
        assert np.array_equal(fill_polygons(polygons, 13, 21, top=9, left=17), expected[9:22, 17:38])
    assert not fill_polygons([shapely.Polygon(), shapely.Point(3, 3), shapely.box(60, 60, 70, 70)], 40, 50).any()


def test_a_raster_is_cleaned_in_place(tmp_path: Path) -> None:
    """Strip by strip, as if it were sieved as it is read."""
    rng = np.random.default_rng(1)
    labels = np.kron(rng.integers(0, 3, (40, 30)), np.ones((5, 5))).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 1
    with LabelRaster.create(tmp_path / "labels", *labels.shape) as raster:
        raster.write(0, 0, labels)
        expected = np.concatenate([rows for _, rows in sieved_rows(raster, 30, 33)])
        clean(raster, 1, 33)
        assert np.array_equal(raster.read(0, 0, *labels.shape), labels)
        clean(raster, 30, 33)
        assert np.array_equal(raster.read(0, 0, *labels.shape), expected)
        assert smallest_region(expected) >= 30
