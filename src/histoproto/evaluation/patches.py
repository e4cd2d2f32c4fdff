"""Evaluation patch by patch: prediction, truth and confusion matrix of each, in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoproto.config import InferenceSettings
from histoproto.data.images import read_image
from histoproto.data.layouts import Patch
from histoproto.data.masks import read_mask
from histoproto.errors import DataError, TissueError
from histoproto.evaluation.confusion import Matrix, Scores, Treatment, confusion_matrix, scores
from histoproto.inference.inputs import in_chunks
from histoproto.inference.segmenter import Segmentation, Segmenter
from histoproto.inference.settings import change_settings
from histoproto.tissue import TissueSet


@dataclass(frozen=True)
class PatchResult:
    """One evaluated patch; tissues in the order of the model."""

    patch: Patch
    segmentation: Segmentation
    truth: NDArray[np.uint8]
    """True label map, H×W."""
    matrix: Matrix
    """(C+1)×(C+1), see `confusion_matrix`."""

    @property
    def present(self) -> NDArray[np.bool_]:
        """Tissues with at least one pixel in the truth, C."""
        return np.asarray(self.matrix[:-1].sum(axis=1) > 0)

    def scores(self, background: Treatment = "ignored") -> Scores:
        """Scores of this patch alone, for sorting best and worst."""
        return scores(self.matrix, background)


def evaluate_patches(
    segmenter: Segmenter,
    patches: Sequence[Patch],
    tissues: TissueSet,
    settings: InferenceSettings | None = None,
    oracle: bool = False,
) -> Iterator[PatchResult]:
    """Segment masked patches and compare, one after the other; memory does not grow with their number.

    Args:
        segmenter: the model.
        patches: each with a mask, at their own size.
        tissues: of the data; each must be one of the model's.
        settings: for prediction; None: those of the model.
        oracle: gate with the tissues of the true mask (at least one pixel) instead of the predicted ones.

    Raises:
        DataError: a patch without a mask, or with one of another size.
        ImageError, TissueError: a file that cannot be read, a tissue that the model does not know.
    """
    settings = change_settings(settings or segmenter.card.inference, abstain=0)  # every pixel is scored
    translation = translate_tissues(tissues, segmenter.tissues)
    missing = [patch.image.name for patch in patches if patch.mask is None]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(patches)} patches have no mask (the first is {missing[0]}); evaluation needs one "
            "for each, as in the val and test parts"
        )
    known = np.arange(len(segmenter.tissues))
    for chunk in in_chunks((patch, read_image(patch.image)) for patch in patches):
        truths = [translation[read_mask(patch.mask, tissues)] for patch, _ in chunk if patch.mask]
        for (patch, image), truth in zip(chunk, truths, strict=True):
            if truth.shape != image.shape[:2]:
                sizes = " px, its mask ".join(f"{w} × {h}" for h, w in (image.shape[:2], truth.shape))
                raise DataError(f"{patch.image} has {sizes} px; they must agree")
        labels = [np.isin(known, truth) for truth in truths] if oracle else None
        results = segmenter.stream((image for _, image in chunk), labels, settings, doubt=True)
        for (patch, _), truth, result in zip(chunk, truths, results, strict=True):
            yield PatchResult(patch, result, truth, confusion_matrix(result.labels, truth, len(known)))


def translate_tissues(data: TissueSet, model: TissueSet) -> NDArray[np.uint8]:
    """A table from label indices of the data to those of the model, by name; background stays background.

    Raises:
        TissueError: the data has a tissue that the model does not know.
    """
    unknown = [name for name in data.names if name not in model.names]
    if unknown:
        raise TissueError(
            f"the data has the tissues {', '.join(data.names)}, but the model knows only {', '.join(model.names)}; "
            f"{unknown[0]!r} cannot be scored"
        )
    return np.array([*(model.index(name) for name in data.names), model.background_index], dtype=np.uint8)
