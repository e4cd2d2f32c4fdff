"""Files in, files out: masks, overlays and areas of any number of images; one that fails does not stop the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

import numpy as np

from histoproto.config import InferenceSettings
from histoproto.data.images import image_size, list_images, read_picture, write_image, write_mask
from histoproto.data.names import find_spelling, read_label
from histoproto.documents.tables import write_table
from histoproto.errors import DataError, ImageError, OutputError, SettingError
from histoproto.files import sweep_partial
from histoproto.inference.areas import tissue_areas
from histoproto.inference.doubt import DOUBTFUL, STRANGE_FROM
from histoproto.inference.inputs import Pixels, in_chunks
from histoproto.inference.large import HUGE
from histoproto.inference.overlay import overlay_picture
from histoproto.inference.resampling import resample_image, resample_labels
from histoproto.inference.segmenter import Segmentation, Segmenter
from histoproto.ledger import Ledger
from histoproto.lock import folder_lock
from histoproto.tissue import TissueSet

AREAS_FILE = "areas.csv"
LARGEST = 2**28
"""Pixels of an image, at the scale of the model too; some ten bytes of each are held in memory."""
OVERLAY_SIDE = 4096
"""Of the overlay of an image whose maps are not held."""

_HUGE_NOTE = (
    "it is done in strips, with windows that overlap by half, as it is so large; its overlay is shrunk, its mask is not"
)
COLUMNS = ("%", "pixels", "mm2", "probability", "doubtful %")
"""Of each tissue."""
OTHERS = ("background pixels", "background mm2", "uncertain pixels", "uncertain mm2", "strange %")
"""The last columns; strange: share of the tissue that is unlike the training patches, empty if nothing is known."""


@dataclass(frozen=True)
class Prediction:
    """What came of a set of images."""

    done: tuple[Path, ...]
    failed: tuple[tuple[Path, str], ...]
    """Image and sentence."""
    areas: Path
    notes: tuple[tuple[str, int], ...] = ()
    """What was chosen or assumed of images, and of how many."""
    strange: tuple[Path, ...] = ()
    """Images more than half of whose tissue is unlike the training patches."""


def predict_files(
    segmenter: Segmenter,
    paths: Sequence[Path],
    out: Path,
    settings: InferenceSettings | None = None,
    mpp: float | None = None,
    labels_from_names: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Prediction:
    """Segment image files, and folders of them, into OUT/mask, OUT/overlay and OUT/areas.csv.

    Args:
        segmenter: the model.
        paths: images and folders.
        out: where to write; what an earlier call wrote there is replaced, and nothing else (see `ledger`).
        settings: None: those of the model.
        mpp: µm/px of the images: areas are given in mm², and images resampled to the scale of the model if it has one.
        labels_from_names: gate with the labels in the file names (`NAME[101].png`) instead of predicted ones.
        progress: called with images done (or failed) and images in all.

    Raises:
        DataError: no images, a folder that does not exist, or two images with one name.
        SettingError: labels in names are asked for and missing.
        OutputError: a result cannot be written, or would replace something else.
        RunError: another process is at work in `out`.
    """
    images = find_images(paths)
    with folder_lock(out):
        for folder in (out, out / "mask", out / "overlay"):
            sweep_partial(folder)
        ledger = _reserve_places(images, out)
        return _predict(segmenter, images, out, ledger, settings, mpp, labels_from_names, progress)


def _reserve_places(images: Sequence[Path], out: Path) -> Ledger:
    """Make sure that no image, nor anything else of the user's, lies where a result will be written."""
    targets = [target for image in images for target in _targets(image, out)]
    inputs = {_identity(image): image for image in images}
    for target in targets:
        if target.exists() and (image := inputs.get(_identity(target))):
            raise OutputError(f"{image} would be written over by its own result; choose another --out")
    ledger = Ledger(out)
    ledger.require_own([*targets, out / AREAS_FILE])
    return ledger


def _targets(image: Path, out: Path) -> tuple[Path, Path]:
    """Where mask and overlay of an image go."""
    return out / "mask" / f"{image.stem}.png", out / "overlay" / f"{image.stem}.png"


def _identity(path: Path) -> tuple[int, int] | Path:
    try:
        found = path.stat()
    except OSError:
        return path  # it is not there, as will be said
    return found.st_dev, found.st_ino


def _predict(
    segmenter: Segmenter,
    images: Sequence[Path],
    out: Path,
    ledger: Ledger,
    settings: InferenceSettings | None,
    mpp: float | None,
    labels_from_names: bool,
    progress: Callable[[int, int], None] | None,
) -> Prediction:
    labels = labels_in_names(images, segmenter) if labels_from_names else None
    names = segmenter.tissues.names
    failed: list[tuple[Path, str]] = []
    rows: list[list[str]] = []
    notes: Counter[str] = Counter()
    strange: list[Path] = []

    def readable() -> Iterator[tuple[Path, Pixels]]:
        for path in images:
            try:
                _check_size(path, factor)
                picture = read_picture(path)
                notes.update(picture.notes)
                if _is_huge(picture.pixels.shape, factor):
                    notes.update([_HUGE_NOTE])
                yield path, picture.pixels
            except ImageError as error:
                failed.append((path, str(error)))

    own_scale = mpp if segmenter.card.mpp is not None else None
    factor = mpp / segmenter.card.mpp if mpp is not None and segmenter.card.mpp is not None else 1.0
    for chunk in in_chunks(readable()):
        oracle = None if labels is None else [labels[path] for path, _ in chunk]
        results = segmenter.stream((image for _, image in chunk), oracle, settings, own_scale, doubt=True)
        for (path, image), result in zip(chunk, results, strict=True):
            mask, overlay = _targets(path, out)
            with ledger.writing(mask):
                write_mask(mask, result.labels, segmenter.tissues)
            with ledger.writing(overlay):
                write_image(overlay, _overlay(image, result.labels, segmenter.tissues))
            rows.append([str(path), *_area_cells(result, mpp)])
            if result.strange is not None and result.strange > STRANGE_FROM:
                strange.append(path)
            if progress:
                progress(len(rows) + len(failed), len(images))
    header = ["image", *(f"{name} {column}" for name in names for column in COLUMNS)]
    with ledger.writing(out / AREAS_FILE):
        write_table(out / AREAS_FILE, [*header, *OTHERS], rows)
    done = tuple(Path(row[0]) for row in rows)
    return Prediction(done, tuple(failed), out / AREAS_FILE, tuple(notes.items()), tuple(strange))


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Files as they are, folders as the images in them.

    Raises:
        DataError: no images at all, or two that would be written under one name.
    """
    images = [image for path in paths for image in (list_images(path) if path.is_dir() else [path])]
    if not images:
        raise DataError(f"there are no images in {', '.join(map(str, paths)) or 'an empty list'}")
    seen: dict[str, Path] = {}
    for image in images:
        if image.stem in seen:
            raise DataError(
                f"{seen[image.stem]} and {image} would both be written as {image.stem}.png; give each its own --out"
            )
        seen[image.stem] = image
    return images


def _check_size(path: Path, factor: float) -> None:
    """Refuse, before it is read, what would not fit into memory.

    Raises:
        ImageError: more than 268 million pixels, as they are or with `factor` times as many a side.
    """
    height, width = image_size(path)
    if height * width * max(1.0, factor) ** 2 > LARGEST:
        scale = f", and {factor:.3g} times as many a side at the scale of the model" if factor > 1 else ""
        raise ImageError(
            f"{path} has {width} × {height} pixels{scale}, more than the {LARGEST:,} that are held in memory at once; "
            "cut it into smaller images, or give it to `histoproto segment` as a tiled TIFF"
        )


def _is_huge(shape: tuple[int, ...], factor: float = 1.0) -> bool:
    """Whether an image is done in strips, and its overlay is shrunk."""
    return shape[0] * shape[1] * max(1.0, factor) ** 2 > HUGE


def _overlay(image: Pixels, labels: Pixels, tissues: TissueSet) -> Pixels:
    if _is_huge(image.shape):
        shrink = OVERLAY_SIDE / max(labels.shape)
        size = (max(1, round(labels.shape[0] * shrink)), max(1, round(labels.shape[1] * shrink)))
        image, labels = resample_image(image, size), resample_labels(labels, size)
    return overlay_picture(image, labels, tissues)


def labels_in_names(images: Sequence[Path], segmenter: Segmenter) -> dict[Path, tuple[int, ...]]:
    """The image label at the end of each file name, in the order of the model's tissues."""
    spelling = find_spelling(image.stem for image in images)
    if spelling is None:
        raise SettingError("no file name ends in a label such as [101]; leave out --labels-from-names")
    return {image: read_label(image.stem, spelling, len(segmenter.tissues)) for image in images}


def _area_cells(result: Segmentation, mpp: float | None) -> list[str]:
    *areas, background, uncertain = tissue_areas(result.labels, len(result.tissues), mpp)
    assert result.doubt is not None
    doubtful = np.bincount(result.labels[1 - result.doubt < DOUBTFUL], minlength=len(areas))
    cells = []
    for index, area in enumerate(areas):
        cells += [_cell(area.percent, 2), str(area.pixels), _cell(area.mm2, 6)]
        share = 100 * int(doubtful[index]) / area.pixels if area.pixels else nan
        cells += [_cell(float(result.probabilities[index]), 4), _cell(share, 2)]
    cells += [str(background.pixels), _cell(background.mm2, 6), str(uncertain.pixels), _cell(uncertain.mm2, 6)]
    return [*cells, "" if result.strange is None else f"{100 * result.strange:.1f}"]


def _cell(value: float, digits: int) -> str:
    return "" if isnan(value) else f"{value:.{digits}f}"
