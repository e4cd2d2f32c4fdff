"""Comparisons with runs that were never trained, with known scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakes import TISSUES, colour_card
from histoproto.config import load_settings
from histoproto.evaluation.confusion import scores

REGIONS = ("r0", "r1", "r2", "r3", "r4")


def random_matrices(skill: float, rng: np.random.Generator) -> dict[str, NDArray[np.int64]]:
    """A confusion matrix per region in which about `skill` of the pixels are right."""
    return {
        name: rng.integers(20, 60, (4, 4)) + np.diag(rng.integers(100, 300, 4) * int(100 * skill) // 20)
        for name in REGIONS
    }


def fabricate(
    run: Path,
    regions: dict[str, NDArray[np.int64]],
    settings: tuple[str, ...] = (),
    oracle: float = 0.8,
    prototypes: dict[str, Any] | None = None,
    **record: Any,
) -> None:
    """A run folder as training and measuring leave it."""
    run.mkdir(parents=True)
    chosen = load_settings(overrides=list(settings))
    (run / "config.yaml").write_text(chosen.to_yaml())
    card = colour_card().model_copy(update={"training_data": {"fingerprint": "t"}})
    (run / "model.json").write_text(card.model_dump_json())
    total = np.sum(list(regions.values()), axis=0)
    found = scores(total)
    how = {"labels": "predicted", "background": "ignored", "views": 1, "crf": False}
    honest = {
        "protocol": how,
        "data": {"patches": 12, "fingerprint": "e"},
        "scores": {"miou": found.miou, "mdice": found.mdice, "fwiou": 0.5, "boundary_iou": None, "mislabelled": 0.125},
        "classifier": {"mean_average_precision": 0.75},
        "tissues": {name: {"iou": float(iou)} for name, iou in zip(TISSUES.names, found.iou, strict=True)},
        "groups": {name: matrix.tolist() for name, matrix in regions.items()},
    }
    other = {"scores": {"miou": oracle}, "protocol": how, "groups": honest["groups"]}
    (run / "metrics.json").write_text(json.dumps({"honest": {"test": honest}, "told": {"test": other}}))
    (run / "prototypes.json").write_text(json.dumps(prototypes or {"from": None}))
    record = {"seconds": 120.0, "parameters": 3_200_000, "epochs": chosen.training.epochs or 6, **record}
    (run / "record.json").write_text(json.dumps(record))
