"""PBIP: a bank of clustered prototypes in place of learnable ones, and a second stage (Tang et al., CVPR 2025,
arXiv 2503.12068). What LPD replaces.

Stage one is LPD's network and losses without the diversity regulariser, on a bank that never changes: the centres of a
cosine k-means over the teacher's embeddings of single-tissue training patches, per tissue. Stage two trains a
segmentation network on its masks (`training.second_stage`, on by default for this method).
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from histoproto.config import Settings
from histoproto.data.dataset import PatchDataset
from histoproto.data.mosaic import single_tissue_patches
from histoproto.errors import DataError, SettingError
from histoproto.methods.base import Method
from histoproto.methods.lpd import LPD
from histoproto.model.teachers import Teacher


class PBIP(LPD):
    """L = L_cls + lambda_sim · L_sim with a fixed bank. K = 3, merged and pooled by the mean, as released."""

    preset: ClassVar = {
        "model": {"prototypes": 3, "merge": "mean", "pooling": "mean"},
        "loss": {"diversity": 0.0, "similarity": 0.1},  # the second whatever the tuning
        "training": {"second_stage": True, "second_stage_encoder": "pretrained", "second_stage_averaging": 0.0},
    }

    def __init__(self, settings: Settings, frequency: Tensor):
        super().__init__(settings, frequency)
        if settings.loss.diversity > 0:
            raise SettingError("the prototypes of pbip are fixed and cannot be pushed apart; use loss.diversity=0")
        self.network.bank.prototypes.requires_grad_(False)

    def prepare(self, training: PatchDataset) -> None:
        """Fill the bank by clustering.

        Raises:
            DataError: a tissue has no patch of its own.
        """
        bank = self.network.bank.prototypes
        teacher = self.cached_teacher or self.teacher or Teacher(self.settings.loss.teacher)
        for tissue, patches in single_tissue_patches(training.patches).items():
            if not patches:
                raise DataError(
                    "pbip clusters patches that show a single tissue, and one of the tissues "
                    f"(number {tissue + 1} of {len(bank)}) has none; use lpd, which needs none"
                )
            embeddings = embed(teacher, PatchDataset(patches, training.size))
            centres = cosine_kmeans(embeddings, bank.shape[1], self.settings.seed)
            with torch.no_grad():
                bank[tissue] = torch.from_numpy(centres).to(bank)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All but the bank, at one rate."""
        return Method.parameter_groups(self)


@torch.inference_mode()
def embed(teacher: Teacher, patches: PatchDataset) -> NDArray[np.float32]:
    """Embeddings of patches as they are, N×D, of unit norm."""
    found = [teacher(batch["image"]) for batch in DataLoader(patches, batch_size=32)]
    return np.asarray(F.normalize(torch.cat(found).float(), dim=1).numpy())


def cosine_kmeans(vectors: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Centres of a k-means on unit vectors, themselves of unit norm: count×D.

    On the sphere squared distance is 2 − 2 · cosine, so plain k-means clusters by cosine. With no more vectors than
    centres, each vector is one, some of them more than once.
    """
    if len(vectors) <= count:
        return np.resize(vectors, (count, vectors.shape[1]))
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster keeps its centre, which is a vector
        centres, _ = kmeans2(vectors.astype(np.float64), count, iter=50, minit="++", rng=rng)
    return np.asarray(centres / np.linalg.norm(centres, axis=1, keepdims=True), dtype=np.float32)
