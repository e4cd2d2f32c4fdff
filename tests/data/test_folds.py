"""Folds: every group tested once, no group on two sides, tissues on both; each fold an ordinary data folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fakes import TISSUES
from histoproto.data.folds import assign_folds, foldable, write_fold
from histoproto.data.images import read_image, write_image, write_mask
from histoproto.data.layouts import Patch, open_data
from histoproto.errors import DataError, SettingError


def patch(group: str, labels: tuple[int, ...], number: int = 0) -> Patch:
    return Patch(Path(f"{group}+{number}.png"), labels, None, group)


def test_each_group_is_in_one_fold_and_tissues_are_spread() -> None:
    rng = np.random.default_rng(0)
    # Ten groups with the common tissue; three of them, of different size, have a rare one.
    patches = [
        patch(f"g{g}", (1, int(g in (2, 5, 6)), int(rng.random() < 0.5)), n) for g in range(10) for n in range(g + 3)
    ]
    folds = assign_folds(patches, 3, seed=1)
    assert set(folds) == {f"g{g}" for g in range(10)}
    assert {folds[name] for name in ("g2", "g5", "g6")} == {0, 1, 2}
    sizes = Counter(folds[p.group] for p in patches)
    assert max(sizes.values()) < 1.5 * min(sizes.values())
    assert assign_folds(patches[::-1], 3, seed=1) == folds


def test_what_cannot_be_folded_is_refused() -> None:
    patches = [patch(f"g{g}", (1, int(g == 0))) for g in range(4)]
    with pytest.raises(DataError, match="number 2 is in the patches of one group alone, g0"):
        assign_folds(patches, 2)
    for folds in (1, 5):
        with pytest.raises(SettingError, match="from 2 to the number of groups, 4"):
            assign_folds([patch(f"g{g}", (1,)) for g in range(4)], folds)


def test_a_fold_is_a_data_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for g in range(4):
        for n in range(2):
            name = f"r{g}+{n}[110].png"
            write_image(data / "train" / "img" / name, np.full((32, 32, 3), 20 * g + n, dtype=np.uint8))
            write_mask(data / "train" / "mask" / name, np.full((32, 32), n, dtype=np.uint8), TISSUES)
    TISSUES.write(data / "classes.yaml")
    (data / "groups.csv").write_text("region,group,split\n" + "".join(f"r{g},p{g // 2},train\n" for g in range(4)))
    (data / "cut.json").write_text('{"train": {"region_mpp": 0.5}}')
    source = open_data(data)
    fold = write_fold(source, tmp_path / "fold", {"p1"})
    found = open_data(fold)
    assert found.tissues == TISSUES
    assert {p.group for p in found.train} == {"p0"}
    assert {p.group for p in found.test} == {"p1"}
    assert len(found.train) == len(found.test) == 4
    by_name = {p.image.name: p for p in source.train}
    for p in (*found.train, *found.test):
        assert p.labels == by_name[p.image.name].labels
        assert p.mask is not None
        assert np.array_equal(read_image(p.image), read_image(by_name[p.image.name].image))
    assert (fold / "cut.json").read_text() == (data / "cut.json").read_text()
    (data / "train" / "mask" / "r0+0[110].png").unlink()
    with pytest.raises(DataError, match="train-masks"):
        foldable(open_data(data))
