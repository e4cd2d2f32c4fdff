"""`Segmenter`: the one object a user needs for prediction."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from histoproto.config import InferenceSettings
from histoproto.documents.ranges import MPP, in_range
from histoproto.errors import RunError, SettingError
from histoproto.inference.deciding import decide
from histoproto.inference.inputs import ImageLike, Pixels, as_image, best_batch, check_labels, list_inputs, pick_device
from histoproto.inference.large import (
    HUGE,
    HUGE_OVERLAP,
    blended_evidence,
    strips_of_evidence,
    windowed_evidence,
)
from histoproto.inference.onnx_network import ONNX_FILE, OnnxNetwork
from histoproto.inference.patches import as_batch, patch_evidence
from histoproto.inference.resampling import resample_image, resample_labels, resample_scores
from histoproto.inference.strangeness import Strangeness, load_strangeness, strange_shares
from histoproto.inference.windows import OVERLAP
from histoproto.model.archive import opened
from histoproto.model.half_precision import HalfPrecision
from histoproto.model.network import Network
from histoproto.model.rewriting import fold_normalisation
from histoproto.model.saving import PROGRAM_FILE, WEIGHTS_FILE, ModelCard, load_card, load_model
from histoproto.tissue import TissueSet

_log = logging.getLogger(__name__)

WINDOWS_FROM = 1.5
"""Images with a side above this many patch sizes are done in windows; smaller ones in one piece."""
SAME_SCALE = 0.02
"""Relative difference of µm/px below which an image is not resampled."""


@dataclass(frozen=True)
class Segmentation:
    """The result for one image."""

    labels: Pixels
    """H×W label map: 0 … C − 1 tissue, C background."""
    scores: NDArray[np.float32]
    """Fused and gated maps, C×H×W, before background, CRF and the choice of the highest; C×0×0 of an image of more than
    33 million pixels, whose maps are not held."""
    probabilities: NDArray[np.float32]
    """Image-level probability of each tissue, C (in windows: the highest of any place)."""
    tissues: TissueSet
    doubt: NDArray[np.floating[Any]] | None = None
    """H×W in [0, 1]: one minus the calibrated chance of the label, 0 on background; only if it was asked for."""
    uncalibrated: NDArray[np.float32] | None = None
    """The same by the gated maps as they are, to see what calibration does."""
    strange: float | None = None
    """Share of its tissue, in [0, 1], that is unlike the training patches; None if nothing is known of them."""


class Segmenter:
    """A trained network, ready to segment images of any size.

    Args:
        network: as `load_model` gives it.
        card: its model card; names the tissues, the patch size, the scale, the thresholds and the default settings.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1` …
        strangeness: what is known of the look of its training patches.

    Labels are gated patch by patch: only tissues that the classifier finds in a patch (or that the user names with
    `labels`) may appear in its mask. An image with a side above 1.5 patch sizes is done in overlapping windows of the
    size of a patch, and at each place those tissues may appear that are found around it.

    Attributes:
        overlap: of these windows; less is quicker and shows their edges more.
    """

    def __init__(self, network: Network, card: ModelCard, device: str = "auto", strangeness: Strangeness | None = None):
        self.device = pick_device(device)
        self.network = network.to(self.device).eval()
        self.card = card
        self.tissues = card.tissues
        self.thresholds = torch.tensor(card.thresholds, device=self.device)
        self.overlap = OVERLAP
        self.strangeness = strangeness and strangeness.to(self.device)

    @classmethod
    def load(cls, run: Path | str, device: str = "auto", fast: bool = False) -> Segmenter:
        """From a run folder, or from what `histoproto export` wrote: a zip, or a folder with `model.onnx` or that file.

        Args:
            run: the folder or file.
            device: see `Segmenter`.
            fast: compute in half precision where the device has instructions for it, which is about twice as quick
                and changes a fraction of a percent of the pixels. Exported models stay as they are.

        Raises:
            RunError, WeightsError: see `load_model`.
            SettingError: there is no such device, or ONNX Runtime is not installed.
        """
        run = opened(Path(run))
        folder = Path(run).parent if Path(run).suffix == ".onnx" else Path(run)
        onnx = folder / ONNX_FILE if folder == Path(run) else Path(run)
        if onnx.is_file() and not (folder / WEIGHTS_FILE).exists():
            card = load_card(folder)
            return cls(OnnxNetwork(onnx, pick_device(device), len(card.tissues)), card, device)
        if (folder / PROGRAM_FILE).is_file() and not (folder / WEIGHTS_FILE).exists():
            raise RunError(f"{folder} holds a program of torch.export, which is for other software; give a run or ONNX")
        network, card = load_model(folder)
        _log.debug(
            "model %s: %s, %s on %s, on %s", folder, card.method, card.model.architecture, card.model.encoder, device
        )
        network = fold_normalisation(network)
        strangeness = load_strangeness(folder, card.familiar)
        return cls(HalfPrecision(network) if fast else network, card, device, strangeness)

    def segment(
        self,
        images: ImageLike | Sequence[ImageLike],
        labels: ArrayLike | None = None,
        settings: InferenceSettings | None = None,
        mpp: float | None = None,
        doubt: bool = False,
    ) -> Segmentation | list[Segmentation]:
        """Segment one image or many.

        Args:
            images: H×W×3 uint8 RGB or the path of a file: one result. B×H×W×3, a folder or a list: a list of results.
            labels: 0/1 for each tissue that is in the image (`oracle`), C or B×C; None: the classifier decides.
            settings: None: those saved with the model.
            mpp: µm/px of the images; they are resampled to the scale of the model, and the results back.
            doubt: also say of each pixel how doubtful its label is.

        Raises:
            ImageError: an array of another type or shape, or a file that cannot be read.
            SettingError: labels of another shape, or a scale for a model that does not know its own.
            DataError: a folder without images.
        """
        many, single = list_inputs(images)
        rows = None if labels is None else check_labels([labels] if single else labels, len(many), len(self.tissues))
        results = list(self.stream(many, rows, settings, mpp, doubt=doubt))
        return results[0] if single else results

    def stream(
        self,
        images: Iterable[ImageLike],
        labels: Iterable[ArrayLike] | None = None,
        settings: InferenceSettings | None = None,
        mpp: float | None = None,
        batch_size: int | None = None,
        doubt: bool = False,
    ) -> Iterator[Segmentation]:
        """Segment any number of images one after the other; memory does not grow with their number.

        Neighbours of one size, no larger than a patch, go through the network together, `batch_size` at a time
        (None: as many as are quickest, see `best_batch`). Otherwise as `segment`.
        """
        in_range(mpp, *MPP, "the µm/px of images")
        if mpp is not None and self.card.mpp is None:
            raise SettingError(
                "the model does not know its own µm/px, so images cannot be resampled to it; leave mpp out, or train "
                "with data.mpp"
            )
        settings = settings or self.card.inference
        most = batch_size or best_batch(self.device, self.card.patch_size)
        queue: list[tuple[Pixels, NDArray[np.bool_] | None, tuple[int, int]]] = []
        for value, row in zip(images, repeat(None) if labels is None else labels, strict=labels is not None):
            image = as_image(value)
            label = None if row is None else check_labels([row], 1, len(self.tissues))[0]
            scaled = self._at_own_scale(image, mpp)
            if queue and (len(queue) == most or scaled.shape != queue[0][0].shape or self._large(scaled)):
                yield from self._flush(queue, settings, doubt)
                queue = []
            queue.append((scaled, label, image.shape[:2]))
        if queue:
            yield from self._flush(queue, settings, doubt)

    def _large(self, image: Pixels) -> bool:
        return bool(max(image.shape[:2]) > WINDOWS_FROM * self.card.patch_size)

    def _at_own_scale(self, image: Pixels, mpp: float | None) -> Pixels:
        factor = 1.0 if mpp is None or self.card.mpp is None else mpp / self.card.mpp
        if abs(factor - 1) < SAME_SCALE:
            return image
        height, width = (max(1, round(side * factor)) for side in image.shape[:2])
        return resample_image(image, (height, width))

    def _flush(
        self,
        queue: list[tuple[Pixels, NDArray[np.bool_] | None, tuple[int, int]]],
        settings: InferenceSettings,
        doubt: bool,
    ) -> Iterator[Segmentation]:
        images, rows, sizes = zip(*queue, strict=True)
        labels = None if rows[0] is None else torch.from_numpy(np.stack(rows)).to(self.device)
        stacked = images[0][None] if images[0].size > 3 * HUGE else np.stack(images)
        for result, size in zip(self._segment(stacked, settings, labels, doubt), sizes, strict=True):
            if result.labels.shape != size:
                scores = resample_scores(result.scores, size) if result.scores.size else result.scores
                result = replace(result, labels=resample_labels(result.labels, size), scores=scores)
                for name in ("doubt", "uncalibrated"):
                    if (layer := getattr(result, name)) is not None:
                        result = replace(result, **{name: resample_scores(layer[None], size)[0]})
            yield result

    @torch.inference_mode()
    def _segment(
        self, images: Pixels, settings: InferenceSettings, labels: Tensor | None, doubt: bool
    ) -> list[Segmentation]:
        """Images of one size, B×H×W×3, at the scale of the model; only one of them if they are large."""
        windowed = self._large(images[0])
        if windowed and images[0].size > 3 * HUGE:
            return [self._segment_in_strips(images[0], settings, labels, doubt)]
        size, known = self.card.patch_size, self.strangeness
        if windowed:
            evidence = windowed_evidence(
                self.network, images[0], size, settings, self.thresholds, labels, self.overlap, known
            )
        else:
            evidence = patch_evidence(self.network, as_batch(images, self.device), settings, strangeness=known)
        found = decide(evidence, images, settings, self.card, labels, self.device, doubt)
        scores = found.maps.scores.float().cpu().numpy()
        likely = found.maps.probabilities.float().cpu()
        probabilities = (likely.amax(dim=(2, 3)) if windowed else likely).numpy()
        strange = strange_shares(evidence.strange, found.labels != self.tissues.background_index)
        return [
            Segmentation(
                found.labels[index],
                scores[index],
                probabilities[index],
                self.tissues,
                None if found.doubt is None else found.doubt[index],
                None if found.uncalibrated is None else found.uncalibrated[index],
                strange[index],
            )
            for index in range(len(images))
        ]

    def _segment_in_strips(
        self, image: Pixels, settings: InferenceSettings, labels: Tensor | None, doubt: bool
    ) -> Segmentation:
        """An image whose maps would not fit into memory, H×W×3."""
        height, width = image.shape[:2]
        size, overlap = self.card.patch_size, min(self.overlap, HUGE_OVERLAP)
        evidence = blended_evidence(
            self.network, image, size, settings, self.thresholds, labels, overlap, self.strangeness
        )
        decided = np.empty((height, width), dtype=np.uint8)
        doubts = np.empty((height, width), dtype=np.float16) if doubt else None
        shares: list[tuple[float, int]] = []
        for part, rows, core in strips_of_evidence(evidence, height, width, settings.crf):
            found = decide(part, image[rows][None].copy(), settings, self.card, labels, self.device, doubt)
            decided[rows][core] = found.labels[0, core]
            if doubts is not None and found.doubt is not None:
                doubts[rows][core] = found.doubt[0, core]
            tissue = found.labels[:, core] != self.tissues.background_index
            unlike = None if part.strange is None else part.strange[:, :, core]
            if (share := strange_shares(unlike, tissue)[0]) is not None:
                shares.append((share, int(tissue.sum())))
        strange = sum(share * count for share, count in shares) / sum(count for _, count in shares) if shares else None
        probabilities = evidence.logits.sigmoid().amax(dim=(2, 3))[0].numpy()
        none = np.empty((len(self.tissues), 0, 0), np.float32)
        return Segmentation(decided, none, probabilities, self.tissues, doubts, None, strange)
