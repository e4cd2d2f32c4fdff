"""Cutting annotated regions into weakly labelled training patches and masked patches for validation and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from histoproto.data.cut_record import CutSettings, write_settings
from histoproto.data.grid import grid_offsets, rescale, tissue_counts
from histoproto.data.groups import REGION_COLUMNS, SPLITS, Split, prove_disjoint
from histoproto.data.images import list_images, natural_key, read_image, write_image, write_mask
from histoproto.data.masks import read_mask
from histoproto.data.names import group_of, patch_name
from histoproto.data.regions import find_regions, find_tissues
from histoproto.data.staging import refuse_if_filled, staged_folder
from histoproto.documents.tables import write_table
from histoproto.errors import DataError, ImageError, OutputError, SettingError
from histoproto.tissue import TissueSet

Pixels = NDArray[np.uint8]


@dataclass
class CutReport:
    """What was cut: regions read and skipped, patches written and dropped, image labels of the patches per split."""

    tissues: TissueSet
    regions: int = 0
    too_small: list[str] = field(default_factory=list)
    empty: int = 0
    labels: dict[Split, Counter[tuple[int, ...]]] = field(default_factory=dict)
    groups: dict[Split, list[str]] = field(default_factory=dict)
    """The groups of each split, of a split by group: read from the files that were written, and proved to differ."""
    notes: list[str] = field(default_factory=list)
    """What is odd about regions, each with its name."""

    def patches(self, split: Split) -> int:
        """How many patches were written to a split."""
        return sum(self.labels.get(split, Counter()).values())


class Region(Protocol):
    """Something annotated that patches are cut from, at the scale of the patches."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about it, in words."""

    def counts(self, rows: NDArray[np.intp], columns: NDArray[np.intp], size: int) -> NDArray[np.int64]:
        """Pixels of each tissue in the patches with these tops and lefts, as rows × columns × tissues."""

    def image(self, top: int, left: int, size: int) -> Pixels:
        """A patch, size × size × 3."""

    def labels(self, top: int, left: int, size: int) -> Pixels:
        """The label map of a patch, size × size."""


RegionOpener = Callable[[], AbstractContextManager[Region]]


def cut_regions(
    regions: Path,
    out: Path,
    settings: CutSettings | None = None,
    *,
    split: Split = "train",
    groups: Mapping[str, str] | None = None,
    splits: Mapping[str, Split] | None = None,
) -> CutReport:
    """Cut a folder of annotated images (`img/`, `mask/`, `classes.yaml` here or above); otherwise as `cut_patches`.

    Raises:
        DataError, ImageError, TissueError: regions that are missing, malformed or inconsistent.
        OutputError: the split is there already, or belongs to other tissues.
    """
    settings = settings or CutSettings()
    tissues, openers = masked_regions(regions, settings.factor)
    return cut_patches(tissues, openers, out, settings, split=split, groups=groups, splits=splits)


def masked_regions(regions: Path, factor: float = 1.0) -> tuple[TissueSet, dict[str, RegionOpener]]:
    """The tissues and regions of a folder of annotated images, rescaled to `factor` pixels for each one along a side.

    Raises:
        DataError: it is malformed.
    """
    tissues = find_tissues(regions)
    return tissues, {
        name: partial(_open_masked, name, image, mask, tissues, factor)
        for name, (image, mask) in find_regions(regions).items()
    }


def cut_patches(
    tissues: TissueSet,
    regions: Mapping[str, RegionOpener],
    out: Path,
    settings: CutSettings,
    *,
    split: Split = "train",
    groups: Mapping[str, str] | None = None,
    splits: Mapping[str, Split] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CutReport:
    """Cut annotated regions into a data folder in the BCSS-WSSS layout.

    Training patches carry their image label in the name, `train/NAME+INDEX[0101].png`; val and test patches have a
    mask, `test/img/NAME+INDEX.png` and `test/mask/NAME+INDEX.png`. INDEX counts the positions of the region's grid row
    by row, also those dropped. Regions smaller than a patch are skipped; patches without tissue are dropped. A folder
    can be filled by several calls, one per split; nothing appears in it before all of a call's patches are cut.

    Args:
        tissues: whose indices the label maps hold.
        regions: what opens each region, by name; one is open at a time.
        out: where `train/`, `val/`, `test/`, `classes.yaml` and `cut.json` go.
        settings: size, stride, minimum fraction and scale; defaults: 224 px, no overlap, 5 %.
        split: where all regions go, unless they are split by group.
        groups: group of each region, by name (`histoproto.data.groups`); written to `groups.csv` with its split,
            where `open_data` finds it again.
        splits: split of each group.
        progress: called with regions done and regions in all.

    Raises:
        DataError: no region gives a patch.
        OutputError: the split is there already, or belongs to other tissues.
    """
    if (groups is None) != (splits is None):
        raise SettingError("a split by group needs both the group of each region and the split of each group")
    side: dict[str, Split] = {name: splits[groups[name]] if groups and splits else split for name in regions}
    wanted = [name for name in SPLITS if name in side.values()]
    _check_output(out, tissues, wanted)
    if groups is not None:
        refuse_if_filled(out / "groups.csv")
    report = CutReport(tissues, len(regions), labels={name: Counter() for name in wanted})
    with staged_folder(out, added_to=("cut.json",)) as part:
        for count, (name, opener) in enumerate(regions.items(), start=1):
            stride = settings.stride if groups is None or side[name] == "train" else settings.test_stride
            _cut_region(name, opener, part, side[name], stride or settings.size, settings, report)
            if progress:
                progress(count, len(regions))
        if not any(report.patches(name) for name in wanted):
            raise DataError(
                f"no region gives a patch of {settings.size} px: {len(report.too_small)} of {len(regions)} are smaller "
                f"than that, and of the places for patches {report.empty} hold no tissue"
            )
        if groups is not None and splits is not None:
            written = {name: _regions_in(part / name) for name in wanted}
            prove_disjoint(written, groups)
            report.groups = {
                side: sorted({groups[region] for region in names}, key=natural_key) for side, names in written.items()
            }
            _write_groups(part / "groups.csv", groups, splits)
        if not (out / "classes.yaml").exists():  # else it names the same tissues, in somebody's own way perhaps
            tissues.write(part / "classes.yaml")
        write_settings(part / "cut.json", out / "cut.json", settings, wanted)
    return report


@dataclass(frozen=True)
class _MaskedImage:
    """A region that is in memory."""

    rgb: Pixels
    mask: Pixels
    tissues: int
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        return self.mask.shape[0], self.mask.shape[1]

    def counts(self, rows: NDArray[np.intp], columns: NDArray[np.intp], size: int) -> NDArray[np.int64]:
        return tissue_counts(self.mask, rows, columns, size, self.tissues)

    def image(self, top: int, left: int, size: int) -> Pixels:
        return self.rgb[top : top + size, left : left + size]

    def labels(self, top: int, left: int, size: int) -> Pixels:
        return self.mask[top : top + size, left : left + size]


def _open_masked(
    name: str, image: Path, mask: Path, tissues: TissueSet, factor: float
) -> AbstractContextManager[Region]:
    rgb, labels = read_image(image), read_mask(mask, tissues)
    if rgb.shape[:2] != labels.shape:
        sizes = " and ".join(f"{shape[1]} × {shape[0]}" for shape in (rgb.shape, labels.shape))
        raise ImageError(f"image and mask {name!r} differ in size: {sizes} px")
    return nullcontext(_MaskedImage(*rescale(rgb, labels, factor), len(tissues)))


def _cut_region(
    name: str, opener: RegionOpener, out: Path, split: Split, stride: int, settings: CutSettings, report: CutReport
) -> None:
    size = settings.size
    with opener() as region:
        report.notes += [f"{name}: {note}" for note in region.notes]
        rows, columns = (grid_offsets(length, size, stride) for length in region.shape)
        if not rows.size or not columns.size:
            report.too_small.append(name)
            return
        counts = region.counts(rows, columns, size).reshape(-1, len(report.tissues))
        present = counts >= max(settings.minimum * size * size, 1)
        corners = [(int(row), int(column)) for row in rows for column in columns]
        for index, ((top, left), label) in enumerate(zip(corners, present, strict=True)):
            if not label.any():
                report.empty += 1
                continue
            report.labels[split][tuple(label.astype(int).tolist())] += 1
            file = patch_name(name, index, label if split == "train" else None)
            folder = out / split if split == "train" else out / split / "img"
            write_image(folder / file, region.image(top, left, size))
            if split != "train" or settings.train_masks:
                write_mask(out / split / "mask" / file, region.labels(top, left, size), report.tissues)


def _check_output(out: Path, tissues: TissueSet, splits: list[Split]) -> None:
    for split in splits:
        refuse_if_filled(out / split)
    if (out / "classes.yaml").exists() and TissueSet.read(out / "classes.yaml") != tissues:
        raise OutputError(f"{out / 'classes.yaml'} names other tissues than the regions; choose another folder")


def _regions_in(folder: Path) -> set[str]:
    """The regions whose patches lie in a split folder, by the names of the files."""
    files = list_images(folder / "img" if (folder / "img").is_dir() else folder) if folder.is_dir() else []
    return {group_of(path.stem) for path in files}


def _write_groups(path: Path, groups: Mapping[str, str], splits: Mapping[str, Split]) -> None:
    write_table(path, REGION_COLUMNS, [(region, group, splits[group]) for region, group in groups.items()])
