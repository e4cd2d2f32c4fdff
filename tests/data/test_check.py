from collections import Counter

import numpy as np
import pytest
from PIL import Image

from histoproto.data.check import check_data, count_cooccurrence, warn_of_cooccurrence
from histoproto.data.images import write_image, write_mask
from histoproto.errors import DataError
from histoproto.tissue import TissueSet

TISSUES = TissueSet.of("tumour", "stroma", "normal")


def picture(seed, height=6, width=8):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    TISSUES.write(tmp_path / "classes.yaml")
    for index, label in enumerate(["110", "110", "010", "001"]):
        write_image(tmp_path / "train" / f"r+{index}[{label}].png", picture(index))
    for index in range(3):
        write_image(tmp_path / "test" / "img" / f"t+{index}.png", picture(10 + index, 5, 5))
        write_mask(tmp_path / "test" / "mask" / f"t+{index}.png", np.full((5, 5), index, np.uint8), TISSUES)
    return tmp_path


def test_a_sound_folder(folder):
    report = check_data(folder)
    assert report.problems == ()
    assert report.data.layout == "bcss-wsss"
    assert report.combinations == Counter({(1, 1, 0): 2, (0, 1, 0): 1, (0, 0, 1): 1})
    assert report.cooccurrence.tolist() == [[2, 2, 0], [2, 3, 0], [0, 0, 1]]
    assert report.sizes == {"train": Counter({(8, 6): 4}), "test": Counter({(5, 5): 3})}
    assert report.pixels["test"].tolist() == [25, 25, 25, 0]
    assert report.warnings == (
        "tumour comes always with stroma (2 of 2): image labels can hardly tell tumour from stroma",
    )


def test_what_is_assumed_of_images_is_told(folder):
    for path in folder.glob("train/*.png"):
        Image.fromarray(picture(1)).convert("CMYK").save(path, format="TIFF")
        break
    assert "1 of 4 train images: its CMYK is turned into RGB without a colour profile" in check_data(folder).warnings


def test_everything_wrong_is_found_in_one_run(folder):
    train, test = folder / "train", folder / "test"
    (train / "r+0[110].png").write_bytes((train / "r+0[110].png").read_bytes()[:60])
    (train / "r+1[110].png").write_bytes(b"")
    write_image(train / "r+4[000].png", picture(4))
    write_image(train / "r+5[11].png", picture(5))
    write_image(train / "r+6.png", picture(6))
    write_image(train / "r+7[1 0 0].png", picture(7))
    write_image(train / "r+2[100].png", picture(8))
    write_image(train / "r+8[100].png", picture(10, 5, 5))  # as t+0
    write_mask(test / "mask" / "t+0.png", np.zeros((4, 5), np.uint8), TISSUES)
    write_mask(test / "mask" / "t+1.png", np.full((5, 5), 4, np.uint8), TissueSet.of(*"abcde"))
    (test / "mask" / "t+2.png").unlink()
    write_image(test / "mask" / "t+9.png", picture(0))
    problems = check_data(folder).problems
    for sentence in [
        "r+0[110].png cannot be read",
        "r+1[110].png is empty (0 bytes)",
        "r+4[000].png: the label names no tissue at all",
        "'r+5[11]': the label has 2 digits, expected 3",
        "'r+6' carries no label",
        "the label [1 0 0] is not spelt",
        "r+2[010].png: another file has the same name",
        "r+2[100].png: another file has the same name",
        "test/img/t+0.png: the same image is train/r+8[100].png",
        "test/mask/t+0.png: 5 × 4 px, but its image has 5 × 5",
        "t+1.png holds the values 4, expected only 0, 1, 2, 3",
        "test/img/t+2.png: there is no mask",
        "test/mask/t+9.png: there is no image",
    ]:
        assert sum(sentence in problem for problem in problems) == 1, sentence
    assert len(problems) == 13
    assert not any("\n" in problem for problem in problems)


def test_a_folder_of_no_layout(tmp_path):
    with pytest.raises(DataError, match="no known layout"):
        check_data(tmp_path)


def test_cooccurrence_agrees_with_counting():
    labels = np.random.default_rng(0).integers(0, 2, (50, 4))
    counts = count_cooccurrence([tuple(row) for row in labels.tolist()], 4)
    for i in range(4):
        for j in range(4):
            assert counts[i, j] == sum(1 for row in labels if row[i] and row[j])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([(1, 0), (0, 1)], []),
        ([(1, 1), (0, 1)], ["every training patch holds stroma"]),  # and tumour is told from it
        ([(1, 0)], ["every training patch holds tumour", "no training patch holds stroma: it cannot be learnt"]),
        ([(1, 1)] * 95 + [(1, 0)] * 5 + [(0, 1)] * 9, ["tumour comes in 95.0% of its patches with stroma (95 of 100)"]),
        ([(1, 1)] * 94 + [(1, 0)] * 6 + [(0, 1)] * 9, []),
    ],
)
def test_where_image_labels_fail(labels, expected):
    tissues = TissueSet.of("tumour", "stroma")
    warnings = warn_of_cooccurrence(count_cooccurrence(labels, 2), len(labels), tissues)
    assert len(warnings) == len(expected)
    for warning, start in zip(warnings, expected, strict=True):
        assert warning.startswith(start)


def test_labels_that_contradict_masks_or_each_other(folder):
    write_image(folder / "train" / "r+9[001].png", picture(0))  # r+0 is labelled 110
    write_image(folder / "train" / "r+10[010].png", picture(2))  # as r+2, with its label
    write_mask(folder / "train" / "mask" / "r+3[001].png", np.full((6, 8), 1, np.uint8), TISSUES)
    report = check_data(folder)
    assert report.problems == (
        "train/r+3[001].png: stroma covers 100% of the mask but is not in the label, normal is in the label but not in "
        "the mask",
        "train/r+9[001].png: the same image is train/r+0[110].png, with another label",
    )
    assert "1 images are there more than once, with the same label" in report.warnings


def test_images_and_masks_unlike_the_others(folder):
    write_image(folder / "train" / "r+9[001].png", picture(9, 24, 24))
    write_mask(folder / "test" / "mask" / "t+2.png", np.full((5, 5), 3, np.uint8), TISSUES)
    report = check_data(folder)
    assert report.problems == ()
    for warning in (
        "1 of 5 train images are not 8 × 6 px as most are; there are 2 sizes",
        "no test mask holds normal: it cannot be scored",
        "1 of 3 test masks hold nothing but background",
    ):
        assert warning in report.warnings


@pytest.mark.parametrize("name", ["absolute", "beside"])
def test_paths_outside_of_the_folder_are_no_reason_to_stop(tmp_path, name):
    root = tmp_path / "data"
    root.mkdir()
    write_image(tmp_path / "a.png", picture(0))
    path = tmp_path / "a.png" if name == "absolute" else "../a.png"
    (root / "labels.csv").write_text(f"image,tumour,stroma\n{path},0,0\n")
    report = check_data(root)
    assert report.problems == ()
    assert any("a label that names no tissue at all: taken for background alone" in line for line in report.warnings)


def test_a_folder_without_images_is_no_sound_one(tmp_path):
    (tmp_path / "labels.csv").write_text("image,tumour,stroma\n")
    assert check_data(tmp_path).problems == ("there are no images",)
