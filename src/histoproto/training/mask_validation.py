"""Choosing the checkpoint by masks (`data.validate_with=masks`): an option, recorded in the model card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
import torch

from histoproto.data.layouts import Patch
from histoproto.evaluation.confusion import scores
from histoproto.evaluation.patches import evaluate_patches
from histoproto.inference.segmenter import Segmenter
from histoproto.inference.settings import change_settings
from histoproto.model.saving import ModelCard


class MaskValidation(lightning.Callback):
    """Adds `val_miou`, the honest mIoU of masked patches at thresholds of 0.5, to the scores of each validation.

    Args:
        patches: with masks.
        card: of the network in training; only tissues, patch size and settings are used.
    """

    def __init__(self, patches: Sequence[Patch], card: ModelCard):
        self.patches, self.card = patches, card

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """After the image labels were validated, before the checkpoint is chosen."""
        network = module.final_network
        training = network.training
        segmenter = Segmenter(network, self.card, str(next(network.parameters()).device))
        settings = change_settings(self.card.inference, background="none", abstain=0)
        results = evaluate_patches(segmenter, self.patches, self.card.tissues, settings)
        matrix = np.sum([result.matrix for result in results], axis=0)
        trainer.callback_metrics["val_miou"] = torch.tensor(scores(matrix, "ignored").miou)
        network.train(training)
