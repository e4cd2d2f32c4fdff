"""Synthetic H&E tissue with exact masks: tumour nests, stroma, lymphocytes, necrosis and glass, any size, seeded.

A region is drawn as two maps, the amounts of haematoxylin and eosin, which then become colours with the stain of a
slide. Sizes are in µm, so the same tissue can be drawn at any scale. Tissues differ by nuclei and texture; their mean
colours overlap, within a slide and even more between slides, so that colour alone does not tell them apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from histoproto.data.images import write_image, write_mask
from histoproto.data.layouts import DataFolder, open_data
from histoproto.data.names import patch_name
from histoproto.data.phantom_nuclei import Nuclei, scatter, stamp
from histoproto.data.phantom_slide import Slide, develop, draw_slide
from histoproto.data.phantom_texture import Array, Texture
from histoproto.data.staging import refuse_if_filled, staged_folder
from histoproto.documents.ranges import LARGEST_PATCH, in_range
from histoproto.errors import SettingError
from histoproto.tissue import BCSS

TISSUES = BCSS
"""Tumour, stroma, lymphocytes, necrosis; background (glass) 4."""

TUMOUR, STROMA, LYMPHOCYTES, NECROSIS, GLASS = range(5)

_NUCLEI = {
    TUMOUR: [Nuclei(12.0, 12.0, 9.5, 0.16, 1.4, clearing=0.45, nucleolus=0.7)],
    STROMA: [Nuclei(17.0, 15.0, 3.4, 0.25, 1.5), Nuclei(60.0, 6.5, 6.3, 0.08, 1.6)],  # a few lymphocytes
    LYMPHOCYTES: [Nuclei(9.0, 6.6, 6.2, 0.08, 1.5, clearing=0.1)],
    NECROSIS: [Nuclei(6.0, 2.0, 1.7, 0.5, 1.4), Nuclei(13.0, 9.0, 7.5, 0.2, 0.5, wobble=0.15)],  # debris, ghosts
}
_TISSUES_PER_PATCH = {1: 0.2, 2: 0.45, 3: 0.28, 4: 0.07}
_PATCHES_PER_SLIDE = 10


def phantom_region(
    rng: np.random.Generator,
    height: int,
    width: int,
    slide: Slide,
    *,
    tissues: Sequence[int] = (TUMOUR, STROMA, LYMPHOCYTES, NECROSIS),
    glass: bool = False,
    mpp: float = 1.0,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a region of a slide.

    Args:
        rng: the same state gives the same region.
        height, width: in pixels.
        slide: its stain (`draw_slide`).
        tissues: indices of those that occur.
        glass: leave a part empty.
        mpp: µm/px; above 1, nuclei can no longer be told apart.

    Returns:
        image: H × W × 3 uint8 RGB.
        labels: H × W uint8 label map of `TISSUES`.

    >>> rng = np.random.default_rng(0)
    >>> image, labels = phantom_region(rng, 32, 48, draw_slide(rng))
    >>> image.shape, labels.shape
    ((32, 48, 3), (32, 48))
    """
    if min(height, width) < 1 or not 0 < mpp <= 4 or not tissues:
        raise SettingError(f"a phantom needs a size, at most 4 µm/px and tissues, found {height} × {width}, {mpp}")
    texture = Texture(rng, (height, width), mpp)
    labels = _arrange(texture, tissues, glass)
    haematoxylin, eosin = _paint(texture, labels)
    return develop(haematoxylin, eosin, slide, mpp, rng), labels


def write_phantom(
    out: Path, *, train: int = 300, val: int = 40, test: int = 60, size: int = 128, mpp: float = 1.0, seed: int = 0
) -> DataFolder:
    """Write a data folder (BCSS-WSSS layout) of synthetic patches: image labels for training, masks for the rest.

    No slide is in two splits. Most patches hold several tissues, in all combinations, some only one.

    Args:
        out: a new or empty folder.
        train, val, test: number of patches; val and test get masks.
        size: side of a patch in pixels.
        mpp: µm/px.
        seed: the same seed gives the same folder, and the first patches are the same whatever their number.

    Raises:
        OutputError: the folder is not empty or cannot be written.
    """
    for what, count in (("train", train), ("val", val), ("test", test)):
        in_range(count, 0, 1e6, f"the number of {what} patches")
    in_range(size, 1, LARGEST_PATCH, "the size of a patch")
    in_range(seed, 0, 2**32 - 1, "the seed")
    refuse_if_filled(out)
    with staged_folder(out) as part:
        TISSUES.write(part / "classes.yaml")
        record = {"train": {"size": size, "mpp": mpp, "seed": seed}}  # the model takes its scale from here
        (part / "cut.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        for place, (split, count) in enumerate({"train": train, "val": val, "test": test}.items()):
            for patch in range(count):
                number, index = divmod(patch, _PATCHES_PER_SLIDE)
                slide = draw_slide(np.random.default_rng((seed, place, number, 0)))
                rng = np.random.default_rng((seed, place, number, index + 1))
                image, labels = _draw_patch(rng, size, slide, mpp)
                region = f"{split}-slide{number + 1}"
                if split == "train":
                    present = np.bincount(labels.ravel(), minlength=GLASS)[:GLASS] >= 0.05 * labels.size
                    write_image(part / split / patch_name(region, index, present.tolist()), image)
                else:
                    write_image(part / split / "img" / patch_name(region, index), image)
                    write_mask(part / split / "mask" / patch_name(region, index), labels, TISSUES)
    return open_data(out)


def _draw_patch(
    rng: np.random.Generator, size: int, slide: Slide, mpp: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    number = rng.choice(list(_TISSUES_PER_PATCH), p=list(_TISSUES_PER_PATCH.values()))
    tissues = rng.choice(GLASS, number, replace=False).tolist()
    return phantom_region(rng, size, size, slide, tissues=tissues, glass=rng.random() < 0.15, mpp=mpp)


def _arrange(texture: Texture, tissues: Sequence[int], glass: bool) -> NDArray[np.uint8]:
    """Which tissue is where: that of the largest of one smooth field each, drawn again until each has some room."""
    best, most = np.empty(0, dtype=np.uint8), -1.0
    for _ in range(10):
        fields = [texture.waves(65) + 0.08 * texture.waves(12) for _ in tissues]
        labels = np.array(tissues, dtype=np.uint8)[np.argmax(fields, axis=0)]
        if glass:
            edge = texture.waves(100) + 0.08 * texture.waves(12)
            labels[edge > np.quantile(edge, texture.rng.uniform(0.7, 0.92))] = GLASS
        least = min(float((labels == tissue).mean()) for tissue in tissues) * len(tissues)
        if least > most:
            best, most = labels, least
        if most > 0.4:
            break
    return best


def _paint(texture: Texture, labels: NDArray[np.uint8]) -> tuple[Array, Array]:
    """The amounts of haematoxylin and eosin (H × W each) of a label map."""
    rng, mpp = texture.rng, texture.mpp
    fine, coarse, (fibres, angles) = texture.grain(0.7), texture.grain(2.2), texture.fibres()
    slits = 1 / (1 + np.exp(-5 * (fibres + 1.5)))
    ground = {  # amounts of haematoxylin and eosin between the nuclei
        TUMOUR: (0.22 + 0.05 * coarse, 0.40 + 0.06 * coarse + 0.03 * fine),
        STROMA: (0.06 + 0.02 * fine, 0.08 + (0.52 + 0.15 * fibres) * slits),
        LYMPHOCYTES: (0.12 + 0.04 * fine, 0.36 + 0.08 * fibres),
        NECROSIS: (0.18 + 0.06 * coarse + 0.05 * fine, 0.50 + 0.08 * coarse + 0.08 * fine),
    }
    haematoxylin, eosin, nuclei, cover = np.zeros((4, *labels.shape), dtype=np.float32)
    for tissue, amounts in ground.items():
        here = labels == tissue
        if not here.any():
            continue
        tones = np.exp(rng.normal(0, 0.18, 2))  # no two regions take up the stain alike
        for amount, tone, stain in zip(amounts, tones, (haematoxylin, eosin), strict=True):
            stain[here] = (amount * tone)[here]
        for kind in _NUCLEI[tissue]:
            room = minimum_filter(here, max(1, round(0.8 * kind.width / mpp)))  # nuclei stay inside their tissue
            points = scatter(rng, room, kind.distance / mpp)
            row, column = points.astype(int).T
            turned = angles[row, column] if tissue == STROMA else rng.uniform(0, np.pi, len(points)).astype(np.float32)
            stamp(rng, points, turned, kind, mpp, nuclei, cover)
    haematoxylin = np.maximum(haematoxylin * (1 - cover), nuclei * (1 + 0.16 * fine))
    thickness = np.exp(0.12 * texture.waves(60)) * (labels != GLASS)
    return np.maximum(haematoxylin, 0) * thickness, np.maximum(eosin * (1 - 0.5 * cover), 0) * thickness
