from collections import Counter

import numpy as np
import pytest
from scipy.ndimage import label as connected
from scipy.stats import spearmanr

from histoproto.data.cut_record import recorded_mpp
from histoproto.data.images import list_images, read_image, write_image, write_mask
from histoproto.data.layouts import open_data
from histoproto.data.masks import read_mask
from histoproto.data.phantom import GLASS, LYMPHOCYTES, NECROSIS, STROMA, TISSUES, TUMOUR, phantom_region, write_phantom
from histoproto.data.phantom_nuclei import Nuclei, scatter, stamp
from histoproto.data.phantom_slide import Slide, develop, draw_slide
from histoproto.data.phantom_texture import Texture
from histoproto.errors import OutputError, SettingError
from histoproto.evaluation.colour import colour_baseline
from histoproto.tissue import TissueSet


def rng(seed=0):
    return np.random.default_rng(seed)


PLAIN = Slide(
    stains=np.array([[0.6, 0.7, 0.4], [0.2, 0.8, 0.5]], dtype=np.float32),
    amounts=np.array([1.0, 2.0], dtype=np.float32),
    light=np.array([240, 241, 242], dtype=np.float32),
    blur=0.0,
    noise=0.0,
)


def test_stain_becomes_colour_by_the_beer_lambert_law():
    haematoxylin, eosin = np.array([[0.0, 0.5]], np.float32), np.array([[0.0, 0.1]], np.float32)
    image = develop(haematoxylin, eosin, PLAIN, 1.0, rng())
    expected = [
        light * np.exp(-(h * 0.5 + e * 0.2)) for light, h, e in zip((240, 241, 242), *PLAIN.stains, strict=True)
    ]
    assert image[0, 0].tolist() == [240, 241, 242]
    assert np.abs(image[0, 1] - np.array(expected)).max() <= 0.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 70), (128, 128)])
def test_any_size_and_the_same_again(shape):
    first, labels = phantom_region(rng(5), *shape, PLAIN, glass=True)
    again, same = phantom_region(rng(5), *shape, PLAIN, glass=True)
    assert first.shape == (*shape, 3)
    assert first.dtype == labels.dtype == np.uint8
    assert labels.max() <= GLASS
    assert np.array_equal(first, again)
    assert np.array_equal(labels, same)
    if shape[0] > 1:
        assert not np.array_equal(first, phantom_region(rng(6), *shape, PLAIN)[0])


def test_all_tissues_wanted_and_no_others():
    for tissues in ([STROMA], [TUMOUR, NECROSIS], [LYMPHOCYTES, STROMA, TUMOUR]):
        labels = phantom_region(rng(), 128, 128, PLAIN, tissues=tissues)[1]
        assert set(np.unique(labels)) == set(tissues)


def test_glass_is_as_bright_as_the_light():
    image, labels = phantom_region(rng(1), 128, 128, PLAIN, glass=True)
    assert (labels == GLASS).mean() > 0.05
    assert np.abs(image[labels == GLASS].astype(int) - [240, 241, 242]).max() <= 1
    assert image[labels != GLASS].mean() < 200


def test_wrong_requests():
    for wrong in ({"mpp": 0}, {"tissues": []}):
        with pytest.raises(SettingError):
            phantom_region(rng(), 16, 16, PLAIN, **wrong)


@pytest.mark.parametrize("mpp", [0.25, 1.0])
def test_nuclei_have_the_size_and_density_asked_for(mpp):
    side = int(200 / mpp)
    kind = Nuclei(distance=20.0, length=10.0, width=6.0, spread=0.0, chromatin=3.0, wobble=0.0)
    where = np.ones((side, side), dtype=bool)
    points = scatter(rng(), where, kind.distance / mpp)
    per_mm2 = len(points) / 0.2**2
    assert per_mm2 == pytest.approx(1 / (0.866 * 0.02**2), rel=0.1)  # hexagonal: one per √3/2 · distance²
    canvas, cover = np.zeros((2, side, side), dtype=np.float32)
    stamp(rng(), points[:1] * 0 + side / 2, np.zeros(1, np.float32), kind, mpp, canvas, cover)
    assert cover.sum() * mpp**2 == pytest.approx(np.pi * 5 * 3, rel=0.05)
    row, column = np.nonzero(cover > 0.5)
    assert np.ptp(column) * mpp == pytest.approx(10, abs=2 * mpp)
    assert np.ptp(row) * mpp == pytest.approx(6, abs=2 * mpp)


def test_nuclei_lie_inside_their_tissue_and_only_there():
    where = np.zeros((90, 90), dtype=bool)
    where[30:60, 10:80] = True
    row, column = scatter(rng(), where, 5.0).astype(int).T
    assert len(row) > 50
    assert where[row, column].all()
    kind = Nuclei(5.0, 6.0, 4.0, 0.2, 1.0)
    stamp(rng(), np.empty((0, 2), np.float32), np.empty(0, np.float32), kind, 1.0, *np.zeros((2, 9, 9), np.float32))


def nuclei_area(tissue, mpp=0.5):
    """Median area in µm² of the dark blobs of a tissue, by threshold and connected components."""
    areas = []
    for seed in range(2):
        image = phantom_region(rng(seed), 192, 192, PLAIN, tissues=[tissue], mpp=mpp)[0]
        blobs, _ = connected(image[..., 0] < 130)
        areas.extend((np.bincount(blobs.ravel())[1:] * mpp**2).tolist())
    return np.median([area for area in areas if area > 1])


def test_tissues_have_nuclei_of_their_own_size():
    debris, lymphocyte = nuclei_area(NECROSIS), nuclei_area(LYMPHOCYTES)
    assert debris < 12  # fragments of 2 µm, some of them clumped
    assert 25 < lymphocyte < 60  # 6.4 µm across: 32 µm²


def test_fibres_run_along_the_stated_angle():
    texture = Texture(rng(3), (96, 96), 0.5)
    fibres, angles = texture.fibres()
    steps = [np.stack([np.sin(angles + turn), np.cos(angles + turn)]) * 4 for turn in (0, np.pi / 2)]
    at = np.indices((96, 96))
    change = []
    for step in steps:  # a step along the fibre changes less than one across it
        row, column = np.clip((at + step).round().astype(int), 0, 95)
        change.append(np.abs(fibres[row, column] - fibres)[6:-6, 6:-6].mean())
    assert change[0] < 0.6 * change[1]


def test_waves_have_unit_variance_and_the_asked_size():
    many = np.stack([Texture(rng(seed), (64, 64), 1.0).waves(16) for seed in range(60)])
    assert many.std() == pytest.approx(1, rel=0.05)
    assert spearmanr(many[:, 0, 0], many[:, 0, 2])[0] > 0.8
    assert abs(spearmanr(many[:, 0, 0], many[:, 0, 40])[0]) < 0.4


def test_slides_differ_in_stain():
    colours = [phantom_region(rng(9), 64, 64, draw_slide(rng(seed)))[0].mean(axis=(0, 1)) for seed in range(6)]
    assert np.std(colours, axis=0).min() > 5


def test_a_phantom_folder_can_be_trained_on(tmp_path):
    data = write_phantom(tmp_path / "phantom", train=50, val=4, test=6, size=64, seed=1)
    assert data == open_data(tmp_path / "phantom")
    assert (data.layout, data.problems, data.tissues) == ("bcss-wsss", (), TISSUES)
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [50, 4, 6]
    labels = np.array([patch.labels for patch in data.train])
    assert labels.sum(axis=1).min() >= 1
    assert (labels.sum(axis=1) > 1).mean() > 0.5  # several tissues in most patches
    assert (labels.mean(axis=0) < 0.9).all()  # and none in all of them
    assert len(Counter(map(tuple, labels.tolist()))) >= 8
    groups = [{patch.group for patch in data.split(name)} for name in ("train", "val", "test")]
    assert len(groups[0]) == 5
    assert not groups[0] & groups[1]
    assert not groups[1] & groups[2]
    assert recorded_mpp(tmp_path / "phantom") == 1.0
    assert set(np.unique(read_mask(data.test[0].mask, TISSUES))) <= set(range(5))
    with pytest.raises(OutputError, match="not empty"):
        write_phantom(tmp_path / "phantom")


def test_the_first_patches_do_not_depend_on_how_many_follow(tmp_path):
    few = write_phantom(tmp_path / "few", train=2, val=1, test=0, size=48, seed=3)
    write_phantom(tmp_path / "more", train=4, val=2, test=1, size=48, seed=3)
    for patch in few.train:
        twin = tmp_path / "more" / patch.image.relative_to(tmp_path / "few")
        assert np.array_equal(read_image(patch.image), read_image(twin))
    assert not list_images(tmp_path / "few" / "train")[0].name.startswith(".")


def test_colour_alone_does_not_solve_the_phantom(tmp_path):
    data = write_phantom(tmp_path / "phantom", train=1, val=0, test=24, size=80)
    baseline = colour_baseline(data, smoothing=(4,))
    assert 0.1 < baseline.clustered < 0.6
    assert baseline.clustered < baseline.lookup < 0.6


def test_colour_does_solve_what_it_can_solve(tmp_path):
    tissues = TissueSet.of("red", "blue")
    tissues.write(tmp_path / "classes.yaml")
    labels = np.repeat(np.array([[0, 1, 2]], dtype=np.uint8), 30, axis=0).repeat(10, axis=1)
    noise = rng().normal(0, 5, (30, 30, 3))
    image = np.array([[200, 40, 40], [40, 40, 200], [255, 255, 255]])[labels] + noise
    write_image(tmp_path / "test" / "img" / "a.png", image.clip(0, 255).astype(np.uint8))
    write_mask(tmp_path / "test" / "mask" / "a.png", labels, tissues)
    baseline = colour_baseline(open_data(tmp_path), smoothing=(0,))
    assert baseline.lookup == 1
    assert baseline.clustered == 1
