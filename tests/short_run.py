"""Settings of a run that trains in no time."""

from __future__ import annotations

TINY = [
    "model.encoder=test_efficientnet",
    "model.weights=null",
    "model.prototypes=3",
    "training.epochs=4",
    "training.batch_size=4",
    "training.checkpoint_every=2",
    "training.averaging=0.5",
    "data.validation_fraction=0.25",
    "data.workers=0",
    "loss.warmup=0.25",
]
