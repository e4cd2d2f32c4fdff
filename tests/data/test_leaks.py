"""What is on two sides of a split is told, with names, and refused unless somebody says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from histoproto.data.images import write_image, write_mask
from histoproto.data.layouts import open_data
from histoproto.data.leaks import find_leaks, refuse_leaks, similar_groups
from histoproto.errors import DataError
from histoproto.tissue import TissueSet

TISSUES = TissueSet.of("tumour", "stroma")


def draw(root: Path, train: list[str], test: list[str]) -> Path:
    rng = np.random.default_rng(0)
    TISSUES.write(root / "classes.yaml")
    for name in train:
        write_image(root / "train" / f"{name}[10].png", rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    for name in test:
        write_image(root / "test" / "img" / f"{name}.png", rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        write_mask(root / "test" / "mask" / f"{name}.png", np.zeros((4, 4), np.uint8), TISSUES)
    return root


def test_regions_on_both_sides(tmp_path: Path) -> None:
    data = draw(tmp_path, ["a+0", "b+1", "1", "2", "00+1"], ["a+5", "c+0", "1", "2", "00+0"])
    assert find_leaks(open_data(data)) == ["1 group is in train and in test: a"]  # each folder may count from 1


def test_patients_of_a_group_file_on_both_sides(tmp_path: Path) -> None:
    data = draw(tmp_path, ["a+0", "b+1"], ["c+0", "d+0"])
    assert find_leaks(open_data(data)) == []
    (data / "groups.csv").write_text("region,group,split\na,P1,train\nb,P2,train\nc,P2,test\nd,P1,test\n")
    assert find_leaks(open_data(data)) == ["2 groups are in train and in test: P1, P2"]
    (data / "groups.csv").write_text("region,group,split\na,P1,train\nc,P2,test\nd,P3,test\n")
    assert open_data(data).notes == ("groups.csv has no group for 1 of 4 regions, such as b",)
    for text, why in (
        ("image,patient\na,P1\n", "has the columns image, patient, expected region, group, split"),
        ("region,group,split\na,,train\n", "line 2: the group is missing"),
        ("region,group\na,P1\na,P2\n", "line 3: the region a has the groups P1 and P2"),
    ):
        (data / "groups.csv").write_text(text)
        with pytest.raises(DataError, match=why):
            open_data(data)


def test_groups_of_a_table_on_both_sides(tmp_path: Path) -> None:
    rows = ["image,tumour,split,group"]
    for index in range(6):
        write_image(tmp_path / f"{index}.png", np.full((4, 4, 3), index, np.uint8))
        rows.append(f"{index}.png,1,{'test' if index > 3 else 'train'},patient{index % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    leaks = find_leaks(open_data(tmp_path))
    assert leaks == ["2 groups are in train and in test: patient0, patient1"]
    refuse_leaks(leaks, tmp_path, True, "--allow-leak")
    with pytest.raises(DataError, match=r"patient0, patient1; scores on .*, or go on with --allow-leak"):
        refuse_leaks(leaks, tmp_path, False, "--allow-leak")


def test_one_image_under_two_names(tmp_path: Path) -> None:
    data = draw(tmp_path, ["a+0", "b+1"], ["c+0", "d+0"])
    shutil.copy(data / "train" / "b+1[10].png", data / "test" / "img" / "c+0.png")
    (data / "test" / "img" / "d+0.png").unlink()
    (data / "test" / "img" / "d+0.png").symlink_to(data / "train" / "a+0[10].png")
    (leak,) = find_leaks(open_data(data))
    assert leak == "2 images are in train and in test: b+1[10].png = c+0.png, a+0[10].png = d+0.png"


def test_groups_that_may_be_one_are_told(tmp_path: Path) -> None:
    data = draw(tmp_path, ["a+0", "b+1", "Dr\u00fcse+0"], ["A+5", "c+0", "Dru\u0308se+1"])
    assert similar_groups(open_data(data)) == [
        "groups that differ by case or accents alone count as different ones: A, a; Dru\u0308se, Dr\u00fcse"
    ]
    (tmp_path / "other").mkdir()
    assert similar_groups(open_data(draw(tmp_path / "other", ["a+0", "b+1"], ["c+1"]))) == []
