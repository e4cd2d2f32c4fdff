"""Folds for grouped cross-validation: every group (region, slide, patient) is tested once, by a model without it.

Each fold is an ordinary data folder, so whatever trains and evaluates needs to know nothing of folds.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from histoproto.data.layouts import DataFolder, Patch
from histoproto.data.staging import new_folder
from histoproto.documents.tables import write_table
from histoproto.errors import DataError, SettingError


def assign_folds(patches: Sequence[Patch], folds: int, seed: int = 0) -> dict[str, int]:
    """The fold, 0 … folds − 1, in which each group is tested.

    Stratified by image labels: groups come in turn, those with much of a rare tissue first, and each goes where its
    tissues are most wanted. A tissue of fewer groups than folds is missing from the test side of some; one that is in
    a single group could not be learnt when that is tested.

    Args:
        patches: with labels.
        folds: how many, at least 2.
        seed: of the order of groups that are alike.

    Raises:
        SettingError: fewer than 2 folds, or fewer groups than folds.
        DataError: a tissue that is in one group alone.
    """
    found: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for patch in patches:
        found[patch.group].append(patch.labels or ())
    names = sorted(found)
    if not 2 <= folds <= len(names):
        raise SettingError(f"folds must be from 2 to the number of groups, {len(names)}, found {folds}")
    # Patches of each tissue in each group, as parts of all of that tissue, and last the patches themselves.
    counts = np.array([[*np.sum(found[name], axis=0), len(found[name])] for name in names], dtype=float)
    lonely = np.flatnonzero((counts[:, :-1] > 0).sum(axis=0) == 1)
    if lonely.size:
        group = names[int(counts[:, lonely[0]].argmax())]
        raise DataError(
            f"tissue number {lonely[0] + 1} is in the patches of one group alone, {group}, and "
            "could not be learnt in the fold that tests it; label more groups, or leave it out"
        )
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-shares[order, :-1].max(axis=1), kind="stable")]
    held = np.zeros((folds, shares.shape[1]))
    assigned = {}
    for index in order:
        # What would be spread least evenly decides; then the emptier fold.
        after = [np.square(held + np.eye(folds)[fold][:, None] * shares[index]).sum() for fold in range(folds)]
        fold = int(np.argmin(after))
        held[fold] += shares[index]
        assigned[names[index]] = fold
    return {name: assigned[name] for name in names}


def foldable(data: DataFolder) -> tuple[Patch, ...]:
    """The patches that can be trained on and tested: those of the training part, each with label and mask.

    Raises:
        DataError: there are none, or some lack a label or a mask.
    """
    patches = data.split("train")
    lacking = [patch.image.name for patch in patches if patch.labels is None or patch.mask is None]
    if lacking:
        raise DataError(
            f"folds test each training patch once and need its label and mask, but {len(lacking)} of {len(patches)} "
            f"lack one (the first is {lacking[0]}); `histoproto data cut --train-masks` writes masks"
        )
    return patches


def write_fold(data: DataFolder, out: Path, test: set[str]) -> Path:
    """Write a data folder whose test part are the groups `test` and whose training part all others.

    Images and masks are linked where the disk can do that, and copied elsewhere. A folder that is there is left as it
    is.

    Raises:
        DataError: see `foldable`, or two images of one name.
        OutputError: it cannot be written.
    """
    if out.is_dir():
        return out
    patches = foldable(data)
    names = [patch.image.stem for patch in patches]
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{data.root} holds more than one training image named {double!r}; names must differ")
    with new_folder(out) as part:
        data.tissues.write(part / "classes.yaml")
        if (data.root / "cut.json").is_file():
            shutil.copyfile(data.root / "cut.json", part / "cut.json")
        for name in ("img", "mask"):
            (part / name).mkdir()
        rows: list[list[object]] = []
        for patch in patches:
            assert patch.mask is not None
            assert patch.labels is not None
            _link(patch.image, part / "img" / patch.image.name)
            _link(patch.mask, part / "mask" / f"{patch.image.stem}{patch.mask.suffix}")
            side = "test" if patch.group in test else "train"
            rows.append([f"img/{patch.image.name}", side, patch.group, *patch.labels])
        write_table(part / "labels.csv", ["image", "split", "group", *data.tissues.names], rows)
    return out


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
