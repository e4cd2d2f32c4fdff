"""Region folders: annotated images of any size in `img/`, their masks in `mask/`, the tissues in `classes.yaml`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from histoproto.data.images import images_by_stem, list_images
from histoproto.errors import DataError
from histoproto.tissue import TissueSet
from histoproto.words import listed


def find_tissues(regions: Path) -> TissueSet:
    """The `classes.yaml` of a region folder, or of the folder above it.

    Raises:
        DataError: neither has one.
    """
    for folder in (regions, regions.resolve().parent):
        if os.path.lexists(folder / "classes.yaml"):
            return TissueSet.read(folder / "classes.yaml")
    raise DataError(f"there is no classes.yaml in {regions} or above it; it names the tissues and their mask values")


def lonely_masks(regions: Path) -> list[str]:
    """A sentence on masks without an image, which are left out; none if there are none."""
    images = {path.stem for path in list_images(regions / "img")}
    lonely = [path.name for path in list_images(regions / "mask") if path.stem not in images]
    return [f"masks without an image of their name, left out: {listed(lonely)}"] if lonely else []


def find_regions(regions: Path) -> dict[str, tuple[Path, Path]]:
    """Image and mask of each annotated region, by name, of a folder with `img/` and `mask/`.

    Raises:
        DataError: a folder is missing or empty, an image has no mask, or two have the same name.
    """
    for part in ("img", "mask"):
        if not (regions / part).is_dir():
            raise DataError(f"{regions} has no folder {part}/; a region folder holds img/, mask/ and classes.yaml")
    images = list_images(regions / "img")
    masks = images_by_stem(regions / "mask")
    missing = [path.name for path in images if path.stem not in masks]
    if broken := [path for path in images if not path.is_file()]:
        raise DataError(f"{broken[0]} is no file but a dead link, a pipe or a device; remove it")
    if not images:
        raise DataError(f"{regions / 'img'} holds no images")
    if missing:
        raise DataError(f"{len(missing)} of {len(images)} images in {regions} have no mask, the first is {missing[0]}")
    found = {path.stem: (path, masks[path.stem]) for path in images}
    if len(found) < len(images):
        double = Counter(path.stem for path in images).most_common(1)[0][0]
        raise DataError(f"{regions / 'img'} holds more than one image named {double!r}; names must differ")
    return found
