"""Whether a model has learnt from the images whose maps are scored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoproto.data.images import natural_key, read_image
from histoproto.data.layouts import open_data
from histoproto.data.leaks import COUNTED
from histoproto.data.names import group_of
from histoproto.errors import HistoProtoError
from histoproto.record import read_record
from histoproto.words import listed

_LOOKED_AT = 3


def learnt_images(run: Path, images: Mapping[str, Path | None]) -> list[str]:
    """A sentence if patches of these images were trained on, as far as the run's data folder is still there.

    A patch is of the image that its name begins with (`REGION+0`, `SLIDE-2300-27920`). A short number is no such name,
    as each folder may count from 1: then the image must hold the pixels of the patch, which those cut at another scale
    do not show.

    Args:
        run: run folder.
        images: the file of each image by its name; None: it is a slide, and its name decides.
    """
    try:
        learnt = Path(str(read_record(run / "record.json").get("data")))
        patches = defaultdict(list)
        for patch in open_data(learnt, strict=False).train:
            patches[group_of(patch.image.stem)].append(patch.image)
        same = [name for name, path in images.items() if name in patches and _is_same(name, path, patches[name])]
    except HistoProtoError:
        return []
    if not same:
        return []
    same.sort(key=natural_key)
    return [f"patches of {len(same)} of {len(images)} images were trained on, in {learnt}: {listed(same)}"]


def _is_same(name: str, path: Path | None, patches: list[Path]) -> bool:
    if path is None or not (name.isdigit() and len(name) <= COUNTED):
        return True
    image = read_image(path)
    return any(holds(image, read_image(patch)) for patch in patches[:_LOOKED_AT])


def holds(image: NDArray[np.uint8], patch: NDArray[np.uint8]) -> bool:
    """Whether a patch (h×w×3) is somewhere in an image (H×W×3), pixel for pixel."""
    height, width = patch.shape[:2]
    rows, columns = image.shape[0] - height + 1, image.shape[1] - width + 1
    if min(rows, columns) < 1:
        return False
    places = np.ones((rows, columns), np.bool_)
    for y, x in ((0, 0), (height // 2, width // 2), (height - 1, width - 1), (0, width - 1)):
        places &= (image[y : y + rows, x : x + columns] == patch[y, x]).all(axis=2)
    return any(np.array_equal(image[y : y + height, x : x + width], patch) for y, x in np.argwhere(places))
