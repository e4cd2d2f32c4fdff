"""Settings under which any method trains in no time."""

from __future__ import annotations

from histoproto.config import Settings, load_settings
from histoproto.methods.registry import PRESETS

TINY = [
    "model.encoder=test_efficientnet",
    "model.weights=null",
    "model.prototypes=3",
    "training.epochs=2",
    "training.batch_size=4",
    "training.checkpoint_every=2",
    "data.validation_fraction=0.25",
    "data.workers=0",
    "loss.warmup=0.25",
]


def settings_of(method: str, *more: str) -> Settings:
    return load_settings(overrides=[f"method={method}", *TINY, *more], presets=PRESETS)
