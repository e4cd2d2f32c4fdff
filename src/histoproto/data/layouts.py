"""The data folders that can be trained and evaluated on: which layout a folder has, and what is in it.

`bcss-wsss`, `luad-histoseg`, `wsss4luad`: labels in file names (`histoproto.data.names`), patches in `train/` (or
`train/img/`), masked ones in `val/` and `test/` (`img/`, `mask/`). `table`: a CSV of image labels, masks in `mask/`.
`regions`: annotated images in `img/` and `mask/`, all of them for testing. A `classes.yaml` names the tissues where
they are not those of the published data set.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from histoproto.data.groups import SPLITS, Split, read_region_groups, split_named
from histoproto.data.images import images_by_stem, list_images, list_others
from histoproto.data.names import Spelling, find_spelling, group_of, read_label, unlabelled
from histoproto.data.regions import find_tissues
from histoproto.data.table import find_table, read_labels
from histoproto.errors import DataError
from histoproto.tissue import TissueSet


@dataclass(frozen=True)
class Patch:
    """One image with what is known about it.

    Attributes:
        image: its file.
        labels: 0 or 1 per tissue; None where no image label is given (then a mask is).
        mask: its mask file, where there is one.
        group: the region, slide or patient it was cut from, as far as its name, the table or `groups.csv` tells.
    """

    image: Path
    labels: tuple[int, ...] | None
    mask: Path | None
    group: str

    @property
    def region(self) -> str:
        """The region it was cut from, where its name tells (REGION+INDEX); else its group, which may hold several."""
        return unlabelled(self.image.stem).rpartition("+")[0] or self.group


@dataclass(frozen=True)
class DataFolder:
    """A data folder as found: layout, tissues, the patches of each split, and one sentence for each thing that is odd.

    `problems` are wrong; `notes` tell what lies there and is left out.
    """

    layout: str
    root: Path
    tissues: TissueSet
    train: tuple[Patch, ...] = ()
    val: tuple[Patch, ...] = ()
    test: tuple[Patch, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def split(self, name: Split) -> tuple[Patch, ...]:
        """The patches of `train`, `val` or `test`.

        Raises:
            DataError: there are none.
        """
        found = {split: len(getattr(self, split)) for split in SPLITS}
        if not found[name]:
            others = ", ".join(f"{count} {split}" for split, count in found.items() if count)
            raise DataError(f"{self.root} has no {name} patches; it has {others or 'none at all'}")
        patches: tuple[Patch, ...] = getattr(self, name)
        return patches


def open_data(root: Path, strict: bool = True) -> DataFolder:
    """Find out which layout a folder has and list its patches; no image is opened.

    Args:
        root: the folder.
        strict: raise if anything is wrong with names, labels or missing files; else leave it in `problems`.

    Raises:
        DataError: no folder, no known layout, tissues unknown, or (strict) problems.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; expected one with images and labels")
    folders = _split_folders(root)
    spelling = find_spelling(path.stem for folder in folders.values() for path in _images(folder))
    table = None if spelling and not (root / "labels.csv").is_file() else find_table(root)
    if table is not None:
        data = _open_table(root, table)
    elif folders:
        data = _open_named(root, folders, spelling)
    elif (root / "img").is_dir() and (root / "mask").is_dir():
        problems: list[str] = []
        test = _masked(root, root, None, 0, problems)
        data = DataFolder("regions", root, find_tissues(root), test=test, problems=tuple(problems))
    else:
        raise DataError(
            f"{root} has no known layout: looked for train/ with labels in the file names, val/ or test/ with img/ and "
            "mask/, labels.csv with the column 'image' and one per tissue, or img/ and mask/ with classes.yaml"
        )
    if strict and data.problems:
        more = f" ({len(data.problems) - 3} more)" if len(data.problems) > 3 else ""
        found = "; ".join(data.problems[:3])
        raise DataError(f"{root}: {found}{more}; `histoproto data check {root}` lists everything that is wrong")
    return data


def _split_folders(root: Path) -> dict[Split, Path]:
    folders: dict[Split, Path] = {}
    for path in sorted(path for path in root.iterdir() if path.is_dir()):
        split = split_named(path.name)
        if split in folders:
            raise DataError(f"{root} has two {split} folders, {folders[split].name} and {path.name}; keep one")
        if split is not None:
            folders[split] = path
    return folders


def _images(folder: Path) -> list[Path]:
    return list_images(folder / "img" if (folder / "img").is_dir() else folder)


def _masks(folder: Path) -> dict[str, Path]:
    there = [folder / name for name in ("mask", "masks") if (folder / name).is_dir()]
    if len(there) > 1:
        raise DataError(f"{folder} has mask/ and masks/, and either could be meant; remove one")
    return images_by_stem(there[0]) if there else {}


def _open_named(root: Path, folders: dict[Split, Path], spelling: Spelling | None) -> DataFolder:
    """Labels in file names; without any, a folder of masked patches whose tissues `classes.yaml` must name."""
    named = os.path.lexists(root / "classes.yaml")
    if spelling is None and not named:
        raise DataError(f"no image in {root} has a label in its name like [101], and no classes.yaml names the tissues")
    tissues = TissueSet.read(root / "classes.yaml") if named or spelling is None else spelling.tissues
    layout = spelling.layout if spelling else "bcss-wsss"
    problems: list[str] = []
    train, val, test = (
        read(root, folders[split], spelling, len(tissues), problems) if split in folders else ()
        for split, read in (("train", _labelled), ("val", _masked), ("test", _masked))
    )
    if "train" in folders and problems and not (train or named):
        raise DataError(
            f"{root}: no label has one digit for each of {', '.join(tissues.names)}, the tissues of {layout}; "
            "name your own in classes.yaml"
        )
    known = read_region_groups(root / "groups.csv")  # patients, say, where the folder was cut by them
    train, val, test = (
        tuple(replace(patch, group=known.get(patch.group, patch.group)) for patch in patches)
        for patches in (train, val, test)
    )
    regions = {patch.region for patch in (*train, *val, *test)}
    notes = _others(root, folders.values())
    if known and (without := sorted(regions - known.keys())):
        notes += (f"groups.csv has no group for {len(without)} of {len(regions)} regions, such as {without[0]}",)
    return DataFolder(layout, root, tissues, train, val, test, tuple(problems), notes)


def _labelled(
    root: Path, folder: Path, spelling: Spelling | None, count: int, problems: list[str]
) -> tuple[Patch, ...]:
    """The patches of a training folder; one whose name carries no label for `count` tissues becomes a problem."""
    files, masks = _images(folder), _masks(folder)
    problems += _doubles(root, files)
    if spelling is None:
        if files:
            problems.append(f"none of the {len(files)} images in {folder.relative_to(root)}/ has a label in its name")
        return ()
    problems += _no_files(root, files)
    patches = []
    for path in files:
        try:
            labels = read_label(path.stem, spelling, count)
            patches.append(Patch(path, labels, masks.get(path.stem), group_of(path.stem)))
        except DataError as error:
            problems.append(f"{path.relative_to(root)}: {error}")
    return tuple(patches)


def _masked(root: Path, folder: Path, spelling: Spelling | None, count: int, problems: list[str]) -> tuple[Patch, ...]:
    """The patches of a folder with `img/` and `mask/`; a label in the name is taken too where it is well-formed."""
    files, masks = _images(folder), _masks(folder)
    problems += [*_doubles(root, files), *_no_files(root, files)]
    patches = []
    for path in files:
        mask = masks.pop(path.stem, None) or masks.pop(unlabelled(path.stem), None)
        if mask is None:
            problems.append(f"{path.relative_to(root)}: there is no mask of that name")
        labels = None
        if spelling and unlabelled(path.stem) != path.stem:
            try:
                labels = read_label(path.stem, spelling, count)
            except DataError as error:
                problems.append(f"{path.relative_to(root)}: {error}")
        patches.append(Patch(path, labels, mask, group_of(path.stem)))
    problems += [f"{path.relative_to(root)}: there is no image of that name" for path in masks.values()]
    return tuple(patches)


def _no_files(root: Path, paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(root)}: this is no file but {'a dead link' if path.is_symlink() else 'a pipe or a device'}"
        for path in paths
        if not path.is_file()
    ]


def _doubles(root: Path, files: list[Path]) -> list[str]:
    counts = Counter(unlabelled(path.stem) for path in files)
    doubles = [path for path in files if counts[unlabelled(path.stem)] > 1]
    return [f"{path.relative_to(root)}: another file has the same name but for label or ending" for path in doubles]


def _open_table(root: Path, path: Path) -> DataFolder:
    table = read_labels(path)
    tissues = TissueSet.of(*table.tissues)
    if os.path.lexists(root / "classes.yaml"):
        tissues = TissueSet.read(root / "classes.yaml")
        if set(tissues.names) != set(table.tissues):
            raise DataError(
                f"{path} has the tissue columns {', '.join(table.tissues)}, but classes.yaml names "
                f"{', '.join(tissues.names)}; they must agree"
            )
    order = [table.tissues.index(name) for name in tissues.names]
    masks, stems = _masks(root), Counter(Path(row.image).stem for row in table.rows)
    problems = list(table.problems)
    known = read_region_groups(root / "groups.csv")
    patches: dict[Split, list[Patch]] = {split: [] for split in SPLITS}
    files: dict[Path, str] = {}
    for row in table.rows:
        image = root / row.image
        mask = masks.get(image.stem)
        if mask and stems[image.stem] > 1:
            problems.append(f"{row.image}: other images share its name and would share its mask")
        if not image.is_file():
            problems.append(f"{path.name}: there is no image {row.image}")
        elif masks and mask is None and row.split != "train":
            problems.append(f"{row.image}: there is no mask of that name")
        if (other := files.setdefault(_real(image), row.image)) != row.image:
            problems.append(f"{row.image}: this is the same file as {other}")
        patches[row.split].append(
            Patch(image, tuple(row.labels[i] for i in order), mask, known.get(row.group, row.group))
        )
    train, val, test = (tuple(patches[split]) for split in SPLITS)
    notes = _not_in_table(path, {file.parent for file in files} - {root / "mask", root / "masks"}, files)
    return DataFolder("table", root, tissues, train, val, test, tuple(problems), (*table.notes, *notes))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # `resolve` fails on a loop of links


def _others(root: Path, folders: Iterable[Path]) -> tuple[str, ...]:
    """A sentence for each folder of images in which there is something else."""
    notes = []
    for folder in folders:
        inside = folder / "img" if (folder / "img").is_dir() else folder
        aside = inside == folder and any((folder / name).is_dir() for name in ("mask", "masks"))
        if (others := list_others(inside)) and not (aside and others == "1 folder"):
            where = inside.relative_to(root)
            notes.append(f"left out, as they are no images of a kind that is read: {others} in {where}/")
    return tuple(notes)


def _not_in_table(table: Path, folders: Iterable[Path], files: Container[Path]) -> tuple[str, ...]:
    """A sentence if there are images beside those of a table that it does not name."""
    beside = [file for folder in sorted(folders) if folder.is_dir() for file in list_images(folder)]
    left_out = [file for file in beside if _real(file) not in files]
    if not left_out:
        return ()
    count = "one image" if len(left_out) == 1 else f"{len(left_out)} images"
    return (f"{count} beside those of {table.name} not named in it, and left out, such as {left_out[0].name}",)
