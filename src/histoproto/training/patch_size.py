"""At which size a run sees its patches: the commonest of the training set, and what is said of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from histoproto.data.images import image_size
from histoproto.data.layouts import Patch
from histoproto.errors import DataError

SAME_SHAPE = 1.02
"""Sides whose ratio is at most this are those of a square."""
_NAMED = 3


def choose_patch_size(patches: Sequence[Patch], wanted: int | None = None) -> tuple[int, list[str]]:
    """The side of the square patches of a run, and a sentence for each kind of image that is not of that size.

    Args:
        patches: of the training set; only the headers of their files are read.
        wanted: by the user; None: the shorter side of the commonest size.

    Raises:
        DataError: no size is that of at least half of the patches, and the user names none.
        ImageError: a file cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(lambda patch: image_size(patch.image), patches))
    counts = Counter(sizes)
    common, count = counts.most_common(1)[0]
    if wanted is None and 2 * count < len(sizes):
        found = ", ".join(f"{width} × {height} px ({n})" for (height, width), n in counts.most_common(_NAMED))
        raise DataError(
            f"the {len(sizes)} training patches have {len(counts)} sizes, none of them that of most: {found} …; say to "
            "which they are brought with --set data.patch_size=N, or cut them to one size"
        )
    size = wanted or min(common)
    square = [max(side) <= SAME_SHAPE * min(side) for side in sizes]
    longer = [index for index in range(len(sizes)) if not square[index]]
    others = [index for index in range(len(sizes)) if square[index] and sizes[index] != common]
    notes = []
    if others:
        notes.append(
            f"{len(others)} of {len(sizes)} training patches are not {common[1]} × {common[0]} px as most are, and are "
            f"resized to {size} px, so that they are seen at another scale: {_named(patches, sizes, others)}"
        )
    if longer:
        notes.append(
            f"{len(longer)} of {len(sizes)} training patches are not square, and are mirrored at their edges to become "
            f"it: {_named(patches, sizes, longer)}"
        )
    return size, notes


def _named(patches: Sequence[Patch], sizes: Sequence[tuple[int, int]], indices: Sequence[int]) -> str:
    some = (f"{patches[i].image.name} ({sizes[i][1]} × {sizes[i][0]})" for i in indices[:_NAMED])
    return ", ".join(some) + (" …" if len(indices) > _NAMED else "")
