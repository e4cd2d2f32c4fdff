"""Cutting annotated regions into weakly labelled training patches and masked patches for validation and test."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from histoproto.data.grid import grid_offsets, rescale, tissue_counts
from histoproto.data.groups import REGION_COLUMNS, SPLITS, Split, prove_disjoint
from histoproto.data.images import list_images, read_image, read_mask, write_image, write_mask
from histoproto.data.names import group_of, patch_name
from histoproto.data.regions import find_regions, find_tissues
from histoproto.data.staging import refuse_if_filled, staged_folder
from histoproto.errors import DataError, ImageError, OutputError, SettingError
from histoproto.tissue import TissueSet


@dataclass(frozen=True)
class CutSettings:
    """How regions are cut; what `cut.json` records.

    Attributes:
        size: side of a patch in pixels, after rescaling.
        stride: step between training patches (between all, when a whole folder goes to one split); None: `size`.
        test_stride: step between val and test patches of a split by group; None: `size`.
        minimum: fraction of the patch's pixels from which a tissue counts as present.
        region_mpp: scale of the regions in µm/px, where known.
        mpp: scale of the patches in µm/px; None: that of the regions.
        train_masks: also write the masks of training patches, to `train/mask/`. Weakly supervised methods never read
            them; full supervision, the ceiling they are compared with, needs them.
    """

    size: int = 224
    stride: int | None = None
    test_stride: int | None = None
    minimum: float = 0.05
    region_mpp: float | None = None
    mpp: float | None = None
    train_masks: bool = False

    def __post_init__(self) -> None:
        for name in ("size", "stride", "test_stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} must be at least 1 pixel, found {value}")
        if not 0 <= self.minimum <= 1:
            raise SettingError(f"minimum is a fraction from 0 to 1, found {self.minimum}")
        if any(scale is not None and not 0 < scale < 1000 for scale in (self.region_mpp, self.mpp)):
            raise SettingError(f"µm/px must be above 0 and below 1000, found {self.region_mpp} and {self.mpp}")
        if self.mpp is not None and self.region_mpp is None:
            raise SettingError("patches can be cut at a given µm/px only where that of the regions is given too")

    @property
    def factor(self) -> float:
        """Patch pixels per region pixel."""
        return 1.0 if self.mpp is None or self.region_mpp is None else self.region_mpp / self.mpp


@dataclass
class CutReport:
    """What was cut: regions read and skipped, patches written and dropped, image labels of the patches per split."""

    tissues: TissueSet
    regions: int = 0
    too_small: list[str] = field(default_factory=list)
    empty: int = 0
    labels: dict[Split, Counter[tuple[int, ...]]] = field(default_factory=dict)

    def patches(self, split: Split) -> int:
        """How many patches were written to a split."""
        return sum(self.labels.get(split, Counter()).values())


def cut_regions(
    regions: Path,
    out: Path,
    settings: CutSettings | None = None,
    *,
    split: Split = "train",
    groups: Mapping[str, str] | None = None,
    splits: Mapping[str, Split] | None = None,
) -> CutReport:
    """Cut a region folder into a data folder in the BCSS-WSSS layout.

    Training patches carry their image label in the name, `train/NAME+INDEX[0101].png`; val and test patches have a
    mask, `test/img/NAME+INDEX.png` and `test/mask/NAME+INDEX.png`. INDEX counts the positions of the region's grid row
    by row, also those dropped. Regions smaller than a patch are skipped; patches without tissue are dropped. A folder
    can be filled by several calls, one per split; nothing appears in it before all of a call's patches are cut.

    Args:
        regions: folder with `img/`, `mask/` and `classes.yaml` (here or in the folder above).
        out: where `train/`, `val/`, `test/`, `classes.yaml` and `cut.json` go.
        settings: size, stride, minimum fraction and scale; defaults: 224 px, no overlap, 5 %.
        split: where all regions go, unless they are split by group.
        groups: group of each region, by name (`histoproto.data.groups`); written to `groups.csv` with its split,
            where `open_data` finds it again.
        splits: split of each group.

    Raises:
        DataError, ImageError, TissueError: regions that are missing, malformed or inconsistent.
        OutputError: the split is there already, or belongs to other tissues.
    """
    settings = settings or CutSettings()
    tissues, found = find_tissues(regions), find_regions(regions)
    if (groups is None) != (splits is None):
        raise SettingError("a split by group needs both the group of each region and the split of each group")
    side: dict[str, Split] = {name: splits[groups[name]] if groups and splits else split for name in found}
    wanted = [name for name in SPLITS if name in side.values()]
    _check_output(out, tissues, wanted)
    report = CutReport(tissues, len(found), labels={name: Counter() for name in wanted})
    with staged_folder(out) as part:
        for name, (image, mask) in found.items():
            stride = settings.stride if groups is None or side[name] == "train" else settings.test_stride
            _cut_region(name, image, mask, part, side[name], stride or settings.size, settings, report)
        if not any(report.patches(name) for name in wanted):
            reason = (
                f"{len(report.too_small)} of {len(found)} regions are smaller than that, {report.empty} hold no tissue"
            )
            raise DataError(f"{regions} gives no patch of {settings.size} px: {reason}")
        if groups is not None and splits is not None:
            prove_disjoint({name: _regions_in(part / name) for name in wanted}, groups)
            _write_groups(part / "groups.csv", groups, splits)
        tissues.write(part / "classes.yaml")
        _write_settings(part / "cut.json", out / "cut.json", settings, wanted)
    return report


def recorded_mpp(data: Path) -> float | None:
    """The scale in µm/px at which the training patches of a data folder were cut; None where that is not recorded."""
    path = data / "cut.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8")).get("train", {})
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); cut the regions again, or remove it") from error
    scale: float | None = record.get("mpp") or record.get("region_mpp")
    return scale


def _cut_region(
    name: str, image: Path, mask: Path, out: Path, split: Split, stride: int, settings: CutSettings, report: CutReport
) -> None:
    rgb, labels = read_image(image), read_mask(mask, report.tissues)
    if rgb.shape[:2] != labels.shape:
        sizes = " and ".join(f"{shape[1]} × {shape[0]}" for shape in (rgb.shape, labels.shape))
        raise ImageError(f"image and mask {name!r} differ in size: {sizes} px")
    rgb, labels = rescale(rgb, labels, settings.factor)
    size = settings.size
    rows, columns = (grid_offsets(length, size, stride) for length in labels.shape)
    if not rows.size or not columns.size:
        report.too_small.append(name)
        return
    counts = tissue_counts(labels, rows, columns, size, len(report.tissues)).reshape(-1, len(report.tissues))
    present = counts >= max(settings.minimum * size * size, 1)
    corners = [(int(row), int(column)) for row in rows for column in columns]
    for index, ((top, left), label) in enumerate(zip(corners, present, strict=True)):
        if not label.any():
            report.empty += 1
            continue
        report.labels[split][tuple(label.astype(int).tolist())] += 1
        window = np.s_[top : top + size, left : left + size]
        if split == "train":
            write_image(out / split / patch_name(name, index, label), rgb[window])
            if settings.train_masks:
                write_mask(out / split / "mask" / patch_name(name, index, label), labels[window], report.tissues)
        else:
            write_image(out / split / "img" / patch_name(name, index), rgb[window])
            write_mask(out / split / "mask" / patch_name(name, index), labels[window], report.tissues)


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
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(REGION_COLUMNS)
        writer.writerows([region, group, splits[group]] for region, group in groups.items())


def _write_settings(path: Path, earlier: Path, settings: CutSettings, splits: list[Split]) -> None:
    record = json.loads(earlier.read_text(encoding="utf-8")) if earlier.is_file() else {}
    record |= {split: asdict(settings) for split in splits}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
