"""What can be said about a data folder before training on it: what is there, and all that is wrong with it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoproto.data.cut_record import recorded_minimum
from histoproto.data.groups import SPLITS, Split
from histoproto.data.images import read_picture
from histoproto.data.layouts import DataFolder, Patch, open_data
from histoproto.data.leaks import group_leaks, similar_groups
from histoproto.data.masks import read_mask
from histoproto.errors import HistoProtoError
from histoproto.tissue import TissueSet

Labels = tuple[int, ...]
Size = tuple[int, int]

_NEARLY_ALWAYS = 0.95


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found.

    Attributes:
        data: the folder as opened; its own problems are part of `problems`.
        combinations: how many training patches have each image label.
        cooccurrence: C × C, training patches with both tissues; the diagonal: with the tissue at all.
        sizes: width and height in pixels of the images of each split, with counts.
        pixels: C + 1 tissue and background pixels in the masks of each split.
        warnings: what image labels cannot teach here, and what is left out or odd, one sentence each.
        problems: everything that is wrong, one sentence each.
    """

    data: DataFolder
    combinations: Counter[Labels]
    cooccurrence: NDArray[np.int64]
    sizes: dict[Split, Counter[Size]]
    pixels: dict[Split, NDArray[np.int64]]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Finding:
    size: Size | None = None
    content: bytes = b""
    pixels: NDArray[np.int64] | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was chosen or assumed of its image."""


def check_data(root: Path) -> DataReport:
    """Open every image and mask of a data folder and report all problems at once.

    Raises:
        DataError: the folder is in no known layout, or its tissues are unknown.
    """
    data = open_data(root, strict=False)
    problems, warnings = list(data.problems), list(data.notes)
    problems += group_leaks(data)
    warnings += similar_groups(data)
    if not any(getattr(data, split) for split in SPLITS):
        problems.append("there are no images")
    sizes: dict[Split, Counter[Size]] = {}
    pixels: dict[Split, NDArray[np.int64]] = {}
    twins = _Twins(data)
    for split in SPLITS:
        patches: tuple[Patch, ...] = getattr(data, split)
        if not patches:
            continue
        inspect = partial(_inspect, data=data, minimum=recorded_minimum(root, split))
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders release the interpreter
            findings = list(pool.map(inspect, patches))
        sizes[split] = Counter(finding.size for finding in findings if finding.size)
        counts = [finding.pixels for finding in findings if finding.pixels is not None]
        if counts:
            pixels[split] = np.sum(counts, axis=0)
            warnings += _warn_of_masks(split, counts, data.tissues)
        for patch, finding in zip(patches, findings, strict=True):
            problems += finding.problems
            if finding.size:
                problems += twins.add(split, patch, finding.content)
        warnings += _warn_of_sizes(split, sizes[split])
        assumed = Counter(note for finding in findings for note in finding.notes)
        warnings += [f"{count} of {len(patches)} {split} images: {note}" for note, count in assumed.items()]
    if twins.alike:
        warnings.append(f"{twins.alike} images are there more than once, with the same label")
    labels = [patch.labels for patch in data.train if patch.labels is not None]
    cooccurrence = count_cooccurrence(labels, len(data.tissues))
    if labels:
        warnings += warn_of_cooccurrence(cooccurrence, len(labels), data.tissues)
    return DataReport(data, Counter(labels), cooccurrence, sizes, pixels, tuple(warnings), tuple(problems))


def count_cooccurrence(labels: Iterable[Labels], tissues: int) -> NDArray[np.int64]:
    """In how many patches two tissues are both present, C × C; the diagonal counts each tissue.

    >>> count_cooccurrence([(1, 1), (0, 1)], 2).tolist()
    [[1, 1], [1, 2]]
    """
    present = np.array(list(labels), dtype=np.int64).reshape(-1, tissues)
    counts: NDArray[np.int64] = present.T @ present
    return counts


def warn_of_cooccurrence(counts: NDArray[np.int64], total: int, tissues: TissueSet) -> list[str]:
    """Where weak supervision fails: tissues never or always there, or (nearly) always together with another.

    Args:
        counts: C × C from `count_cooccurrence`.
        total: number of patches.
        tissues: their names.
    """
    warnings = []
    alone = counts.diagonal()
    for i, name in enumerate(tissues.names):
        if alone[i] == 0:
            warnings.append(f"no training patch holds {name}: it cannot be learnt")
        elif alone[i] == total:
            warnings.append(
                f"every training patch holds {name}: image labels do not say where it is, so it will be mapped "
                "wherever no other tissue is seen"
            )
        for j, other in enumerate(tissues.names):
            share = counts[i, j] / max(alone[i], 1)
            if i != j and share >= _NEARLY_ALWAYS and alone[j] < total:  # what is everywhere is told from the others
                how_often = "always" if counts[i, j] == alone[i] else f"in {share:.1%} of its patches"
                warnings.append(
                    f"{name} comes {how_often} with {other} ({counts[i, j]} of {alone[i]}): "
                    f"image labels can hardly tell {name} from {other}"
                )
    return warnings


def _warn_of_sizes(split: Split, sizes: Counter[Size]) -> list[str]:
    if len(sizes) < 2:
        return []
    (width, height), common = sizes.most_common(1)[0]
    return [
        f"{sizes.total() - common} of {sizes.total()} {split} images are not {width} × {height} px as most are; there "
        f"are {len(sizes)} sizes"
    ]


def _warn_of_masks(split: Split, counts: Sequence[NDArray[np.int64]], tissues: TissueSet) -> list[str]:
    held = np.sum(counts, axis=0)
    warnings = [
        f"no {split} mask holds {name}: it cannot be scored"
        for name, count in zip(tissues.names, held, strict=False)
        if not count
    ]
    empty = sum(not count[:-1].any() for count in counts)
    if empty:
        warnings.append(f"{empty} of {len(counts)} {split} masks hold nothing but background")
    return warnings


class _Twins:
    """Images that are there twice by their pixels, under whatever names."""

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._seen: dict[bytes, tuple[Split, Patch]] = {}
        self.alike = 0

    def add(self, split: Split, patch: Patch, content: bytes) -> list[str]:
        """A sentence if the image is in another split, or has another label."""
        other, twin = self._seen.setdefault(content, (split, patch))
        if twin is patch:
            return []
        where = f"{_short(patch.image, self._data)}: the same image is {_short(twin.image, self._data)}"
        if patch.labels is not None and twin.labels is not None and patch.labels != twin.labels:
            return [f"{where}, with another label"]
        if other != split:
            return [where]
        self.alike += 1
        return []


def _inspect(patch: Patch, data: DataFolder, minimum: float) -> _Finding:
    problems: list[str] = []
    size, content, pixels = None, b"", None
    notes: tuple[str, ...] = ()
    empty = patch.labels is not None and not any(patch.labels)
    if empty and data.layout != "table":  # in a table somebody wrote 0 for each tissue
        problems.append(f"{_short(patch.image, data)}: the label names no tissue at all")
    try:
        if patch.image.is_file():  # what is missing or no file is a problem of the folder, reported there
            picture = read_picture(patch.image)
            image, notes = picture.pixels, picture.notes
            size, content = (image.shape[1], image.shape[0]), hashlib.blake2b(image.data).digest()
    except HistoProtoError as error:
        problems.append(str(error))
    try:
        if patch.mask is not None:
            mask = read_mask(patch.mask, data.tissues)
            pixels = np.bincount(mask.ravel(), minlength=len(data.tissues) + 1)
            if size and mask.shape != size[::-1]:
                found = f"{mask.shape[1]} × {mask.shape[0]}"
                problems.append(f"{_short(patch.mask, data)}: {found} px, but its image has {size[0]} × {size[1]}")
            elif patch.labels is not None:
                problems += _contradictions(patch, patch.labels, pixels, minimum, data)
    except HistoProtoError as error:
        problems.append(str(error))
    if empty and data.layout == "table":
        notes = (*notes, "a label that names no tissue at all: taken for background alone")
    return _Finding(size, content, pixels, tuple(problems), notes)


def _contradictions(
    patch: Patch, labels: Labels, pixels: NDArray[np.int64], minimum: float, data: DataFolder
) -> list[str]:
    """Where the label of an image is not that of its own mask: a tissue without a pixel, or one that is not named."""
    shares = pixels[:-1] / pixels.sum()
    wrong = [
        f"{name} is in the label but not in the mask"
        if label
        else f"{name} covers {share:.0%} of the mask but is not in the label"
        for name, label, share in zip(data.tissues.names, labels, shares, strict=True)
        if (label and not share) or (not label and share > minimum)
    ]
    return [f"{_short(patch.image, data)}: {', '.join(wrong)}"] if wrong else []


def _short(path: Path, data: DataFolder) -> str:
    return str(path.relative_to(data.root) if path.is_relative_to(data.root) else path)
