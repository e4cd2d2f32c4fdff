"""How long a stage of training lasts."""

from __future__ import annotations

import math

from histoproto.config import TrainingSettings

LEAST_EPOCHS = 6
LEAST_STEPS = {"full": 350, "frozen": 200, "head-first": 350}


def count_epochs(training: TrainingSettings, patches: int) -> int:
    """Epochs of a stage for so many training patches.

    Those that were asked for or, by default, 6 and at least about 350 steps (200 with a frozen encoder);
    see `second_stage_epochs` for the second.
    """
    epochs = training.epochs or max(
        LEAST_EPOCHS, round(LEAST_STEPS[training.tuning] / max(1, patches // training.batch_size))
    )
    if not training.second_stage:
        return epochs
    usual = epochs if training.second_stage_encoder == "pretrained" else math.ceil(epochs / 2)
    return training.second_stage_epochs or usual
