import csv
import json
from collections import Counter

import numpy as np
import pytest

from histoproto.data.cut import cut_regions
from histoproto.data.cut_record import CutSettings
from histoproto.data.grid import grid_offsets, rescale, tissue_counts
from histoproto.data.groups import assign_splits, groups_from_pattern, groups_from_table, prove_disjoint
from histoproto.data.images import list_images, read_image, write_image, write_mask
from histoproto.data.layouts import open_data
from histoproto.data.masks import read_mask
from histoproto.errors import DataError, HistoProtoError, ImageError, OutputError, SettingError
from histoproto.tissue import TissueSet
from places import REAL

LUAD = REAL / "luad"
TISSUES = TissueSet.of("tumour", "stroma")


def region_folder(root, sizes, seed=0):
    """Regions of the given (height, width), left third tumour, middle stroma, right background; noise as image."""
    rng = np.random.default_rng(seed)
    for name, (height, width) in sizes.items():
        labels = np.broadcast_to(np.arange(width) * 3 // width, (height, width)).astype(np.uint8)
        write_image(root / "img" / f"{name}.png", rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        write_mask(root / "mask" / f"{name}.png", labels, TISSUES)
    TISSUES.write(root / "classes.yaml")
    return root


@pytest.mark.parametrize("length", [4, 5, 11, 12, 13, 40])
@pytest.mark.parametrize("stride", [1, 3, 4, 7])
def test_the_grid_reaches_both_edges(length, stride):
    expected = [start for start in range(length) if start % stride == 0 and start + 4 <= length]
    if expected[-1] + 4 < length:
        expected.append(length - 4)
    assert grid_offsets(length, 4, stride).tolist() == expected


def test_a_side_shorter_than_the_patch_gives_nothing():
    assert grid_offsets(3, 4, 1).size == 0


def test_counts_agree_with_counting_one_by_one():
    labels = np.random.default_rng(1).integers(0, 4, (23, 31), dtype=np.uint8)
    rows, columns = grid_offsets(23, 8, 5), grid_offsets(31, 8, 6)
    counts = tissue_counts(labels, rows, columns, 8, 3)
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            window = labels[top : top + 8, left : left + 8]
            assert counts[i, j].tolist() == [int((window == tissue).sum()) for tissue in range(3)]


def test_training_patches_carry_labels_and_the_right_pixels(tmp_path):
    regions = region_folder(tmp_path / "regions", {"a": (40, 90), "tiny": (20, 90)})
    report = cut_regions(regions, tmp_path / "out", CutSettings(size=30, stride=25, minimum=0.1))
    assert (report.regions, report.too_small, report.empty) == (2, ["tiny"], 2)
    image = read_image(regions / "img" / "a.png")
    names = {path.name: path for path in list_images(tmp_path / "out" / "train")}
    # offsets 0, 25, 50, 60 across and 0, 10 down; [25, 55) is 1/6 tumour and 5/6 stroma
    assert sorted(names) == [f"a+{i}[{label}].png" for i, label in enumerate(["10", "11", "01"])] + [
        f"a+{i}[{label}].png" for i, label in zip((4, 5, 6), ["10", "11", "01"], strict=True)
    ]
    assert np.array_equal(read_image(names["a+5[11].png"]), image[10:40, 25:55])
    assert report.labels["train"] == Counter({(1, 0): 2, (1, 1): 2, (0, 1): 2})
    assert TissueSet.read(tmp_path / "out" / "classes.yaml") == TISSUES
    assert json.loads((tmp_path / "out" / "cut.json").read_text())["train"]["stride"] == 25


def test_a_tissue_is_present_from_the_minimum_on(tmp_path):
    labels = np.full((10, 10), 2, dtype=np.uint8)
    labels[0, :5] = 0  # exactly 5 %
    labels[1, :4] = 1
    root = tmp_path / "regions"
    write_image(root / "img" / "a.png", np.zeros((10, 10, 3), dtype=np.uint8))
    write_mask(root / "mask" / "a.png", labels, TISSUES)
    TISSUES.write(tmp_path / "classes.yaml")  # above the region folder
    report = cut_regions(root, tmp_path / "out", CutSettings(size=10, minimum=0.05))
    assert report.labels["train"] == Counter({(1, 0): 1})
    report = cut_regions(root, tmp_path / "any", CutSettings(size=10, minimum=0))
    assert report.labels["train"] == Counter({(1, 1): 1})
    with pytest.raises(DataError, match="1 hold no tissue"):
        cut_regions(root, tmp_path / "none", CutSettings(size=10, minimum=0.06))


def test_the_same_folder_takes_a_masked_test_set_once(tmp_path):
    regions = region_folder(tmp_path / "regions", {"a": (40, 90)})
    out = tmp_path / "out"
    cut_regions(regions, out, CutSettings(size=30))
    report = cut_regions(regions, out, CutSettings(size=30), split="test")
    images = list_images(out / "test" / "img")
    assert [path.name for path in images] == [path.name for path in list_images(out / "test" / "mask")]
    assert len(images) == report.patches("test") == 4
    assert images[0].name == "a+0.png"
    whole = read_mask(regions / "mask" / "a.png", TISSUES)
    assert np.array_equal(read_mask(out / "test" / "mask" / "a+4.png", TISSUES), whole[10:40, 30:60])
    assert set(json.loads((out / "cut.json").read_text())) == {"train", "test"}
    with pytest.raises(OutputError, match="is there already"):
        cut_regions(regions, out, CutSettings(size=30), split="test")
    other = region_folder(tmp_path / "other", {"a": (40, 90)})
    TissueSet.of("tumour", "normal").write(other / "classes.yaml")
    with pytest.raises(OutputError, match="other tissues"):
        cut_regions(other, out, CutSettings(size=30), split="val")


def test_a_failure_leaves_nothing_behind(tmp_path):
    regions = region_folder(tmp_path / "regions", {"a": (40, 90), "b": (40, 90)})
    write_mask(regions / "mask" / "b.png", np.zeros((5, 5), dtype=np.uint8), TISSUES)
    with pytest.raises(ImageError, match="'b' differ in size: 90 × 40 and 5 × 5 px"):
        cut_regions(regions, tmp_path / "out", CutSettings(size=30))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("breakage", "sentence"),
    [
        (lambda root: (root / "mask" / "a.png").unlink(), "1 of 1 images"),
        (lambda root: (root / "classes.yaml").unlink(), "no classes.yaml"),
        (lambda root: (root / "img" / "a.png").rename(root / "img" / "a.txt"), "holds no images"),
        (lambda root: write_image(root / "img" / "a.tif", np.zeros((4, 4, 3), np.uint8)), "more than one image"),
        (lambda root: (root / "img").rename(root / "image"), "no folder img/"),
    ],
)
def test_malformed_region_folders(tmp_path, breakage, sentence):
    regions = region_folder(tmp_path / "regions", {"a": (40, 90)})
    breakage(regions)
    with pytest.raises(DataError, match=sentence):
        cut_regions(regions, tmp_path / "out", CutSettings(size=30))


def test_regions_are_rescaled_to_the_wanted_scale(tmp_path):
    regions = region_folder(tmp_path / "regions", {"a": (80, 180)})
    report = cut_regions(regions, tmp_path / "out", CutSettings(30, region_mpp=0.25, mpp=0.5), split="val")
    assert report.patches("val") == 4  # 40 × 90: as in the test at native scale
    image, labels = read_image(regions / "img" / "a.png"), read_mask(regions / "mask" / "a.png", TISSUES)
    small, small_labels = rescale(image, labels, 0.5)
    assert small.shape == (40, 90, 3)
    assert abs(small.mean() - image.mean()) < 1
    assert np.array_equal(np.unique(small_labels), [0, 1, 2])
    assert small.std() < image.std() * 0.7  # averaged, not picked


@pytest.mark.parametrize(
    "wrong",
    [{"size": 0}, {"stride": 0}, {"minimum": 5}, {"mpp": 0.5}, {"region_mpp": -1.0}, {"region_mpp": float("nan")}],
)
def test_wrong_settings(wrong):
    with pytest.raises(SettingError):
        CutSettings(**wrong)


def test_groups_from_a_table(tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("image,patient\na.png,1\nb.jpg,2\nc,1\n")
    assert groups_from_table(table, "patient", ["a", "b", "c"]) == {"a": "1", "b": "2", "c": "1"}
    with pytest.raises(DataError, match="says nothing for 'patient' of the image 'd'"):
        groups_from_table(table, "patient", ["d"])
    with pytest.raises(DataError, match="no column 'grade'; its columns are image, patient"):
        groups_from_table(table, "grade", ["a"])
    table.write_text("image;patient\na.png;1\na.jpg;2\n")
    with pytest.raises(DataError, match="the values 1, 2"):
        groups_from_table(table, "patient", ["a"])


def test_groups_from_names():
    with pytest.raises(DataError, match="finds no group in the name 'x'"):
        groups_from_pattern("[0-9]+", ["x"])
    with pytest.raises(SettingError, match="no regular expression"):
        groups_from_pattern("(", ["x"])


def test_groups_are_assigned_by_name_or_fraction():
    names = [str(i) for i in range(10)]
    named = assign_splits(names, val=["3"], test=["1", "9"])
    assert Counter(named.values()) == {"train": 7, "test": 2, "val": 1}
    assert (named["3"], named["1"], named["9"]) == ("val", "test", "test")
    drawn = assign_splits(names, val=0.01, test=0.3, seed=4)
    assert Counter(drawn.values()) == {"train": 6, "test": 3, "val": 1}
    assert drawn == assign_splits(reversed(names), val=0.01, test=0.3, seed=4)
    assert drawn != assign_splits(names, val=0.01, test=0.3, seed=5)
    mixed = assign_splits(names, val=0.5, test=["0", "1", "2", "3"], seed=0)
    assert Counter(mixed.values()) == {"val": 5, "test": 4, "train": 1}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"test": ["x"]}, "no group 'x' for test; there are a, b"),
        ({"test": ["a"], "val": ["a"]}, "'a' is named for test and val"),
        ({"test": ["a", "b"]}, "no group is left for training"),
        ({"val": 1.5}, "fraction must be"),
    ],
)
def test_impossible_assignments(options, sentence):
    with pytest.raises(HistoProtoError, match=sentence):
        assign_splits(["a", "b"], **options)


def test_the_proof_finds_a_group_on_two_sides():
    prove_disjoint({"train": {"a", "b"}, "test": {"c"}}, {"a": "1", "b": "1", "c": "2"})
    with pytest.raises(DataError, match="'1' is in test and train"):
        prove_disjoint({"train": {"a", "b"}, "test": {"c"}}, {"a": "1", "b": "2", "c": "1"})


def test_a_split_by_group_keeps_groups_apart(tmp_path):
    names = ["p1_a", "p1_b", "p2_a", "p3_a", "p3_b"]
    regions = region_folder(tmp_path / "regions", dict.fromkeys(names, (40, 90)))
    groups = groups_from_pattern("^p[0-9]", names)
    splits = assign_splits(groups.values(), val=["p2"], test=["p3"])
    report = cut_regions(regions, tmp_path / "out", CutSettings(30, stride=15), groups=groups, splits=splits)
    found = {
        side: {path.name.split("_")[0] for path in list_images(tmp_path / "out" / folder)}
        for side, folder in {"train": "train", "val": "val/img", "test": "test/img"}.items()
    }
    assert found == {"train": {"p1"}, "val": {"p2"}, "test": {"p3"}}
    assert report.patches("test") == 8  # without overlap; training patches overlap
    assert report.patches("train") == 16
    assert report.groups == {"train": ["p1"], "val": ["p2"], "test": ["p3"]}
    with (tmp_path / "out" / "groups.csv").open() as file:
        assert list(csv.reader(file))[:3] == [
            ["region", "group", "split"],
            ["p1_a", "p1", "train"],
            ["p1_b", "p1", "train"],
        ]
    data = open_data(tmp_path / "out")
    assert [{patch.group for patch in data.split(side)} for side in ("train", "val", "test")] == [
        {"p1"},
        {"p2"},
        {"p3"},
    ]


@pytest.mark.slow
@pytest.mark.skipif(not LUAD.exists(), reason="the real images are not here")
def test_real_lung_tissue_gives_the_known_patches(tmp_path):
    train = cut_regions(LUAD / "pool", tmp_path, CutSettings(size=128, stride=96)).labels["train"]
    assert train.total() == 1047
    common = {(1, 1, 0): 665, (0, 1, 0): 161, (0, 0, 1): 124, (1, 0, 0): 86}
    assert {label: train[label] for label in common} == common
    assert cut_regions(LUAD / "eval", tmp_path, CutSettings(size=128), split="test").patches("test") == 293
