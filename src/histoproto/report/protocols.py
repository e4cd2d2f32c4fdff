"""`metrics.json` as the report shows it: scores per tissue and a confusion matrix, per protocol and split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from histoproto.errors import DocumentError
from histoproto.evaluation.protocols import METRICS_FILE, PROTOCOLS, PURPOSES, load_metrics
from histoproto.tissue import TissueSet
from histoproto.words import counted

MEANS = {"fwiou": "FwIoU", "pixel_accuracy": "pixel accuracy", "mislabelled": "given to a tissue not in the patch"}
CLASSIFIER = {"mean_average_precision": "mAP", "mean_f1": "F1"}


@dataclass(frozen=True)
class TissueScores:
    """A row of the score table; fractions in [0, 1] or None."""

    name: str
    colour: str
    iou: float | None
    dice: float | None
    boundary: float | None


@dataclass(frozen=True)
class TruthRow:
    """A row of the confusion matrix: what became of the pixels of one true label; no shares where it has none."""

    name: str
    index: int
    pixels: str
    shares: tuple[float | None, ...]


@dataclass(frozen=True)
class ProtocolScores:
    """What was measured under one protocol on one split."""

    name: str
    meaning: str
    purpose: str
    patches: str
    rows: tuple[TissueScores, ...]
    miou: float | None
    mdice: float | None
    boundary: float | None
    means: tuple[tuple[str, float | None], ...]
    classifier: tuple[tuple[str, float | None], ...]
    matrix_names: tuple[str, ...]
    matrix: tuple[TruthRow, ...]


def read_protocols(run: Path, tissues: TissueSet) -> list[ProtocolScores]:
    """Everything in a run's `metrics.json`, the known protocols first; nothing if it was not evaluated.

    Raises:
        DocumentError: the file is damaged, or of another model.
    """
    metrics = load_metrics(run)
    for splits in metrics.values():
        for result in splits.values():
            if set(result["tissues"]) != set(tissues.names):
                found = ", ".join(result["tissues"])
                raise DocumentError(f"{run / METRICS_FILE} is of another model ({found}); move it away, evaluate again")
    try:
        return list(_read(metrics, tissues))
    except KeyError as error:
        raise DocumentError(f"{run / METRICS_FILE} has no {error}; move it away and evaluate again") from error


def _read(metrics: dict[str, dict[str, Any]], tissues: TissueSet) -> Iterator[ProtocolScores]:
    known = [name for name in PROTOCOLS if name in metrics]
    for name in [*known, *(name for name in metrics if name not in known)]:
        for split, result in metrics[name].items():
            scores, data = result["scores"], result["data"]
            yield ProtocolScores(
                name=name,
                meaning=meaning(result["protocol"]),
                purpose=PURPOSES.get(name, ""),
                patches=counted(data["patches"], f"{split} patch", "es"),
                rows=tuple(
                    TissueScores(tissue.name, tissue.colour, *(found[key] for key in ("iou", "dice", "boundary_iou")))
                    for tissue in tissues.tissues
                    for found in [result["tissues"][tissue.name]]
                ),
                miou=scores["miou"],
                mdice=scores["mdice"],
                boundary=scores["boundary_iou"],
                means=tuple((words, scores[key]) for key, words in MEANS.items()),
                classifier=tuple((words, result["classifier"][key]) for key, words in CLASSIFIER.items()),
                matrix_names=(*tissues.names, "background"),
                matrix=_matrix(result["confusion"], tissues, result["protocol"]["background"] == "ignored"),
            )


def meaning(protocol: dict[str, Any]) -> str:
    """A protocol, as a result holds it, in words."""
    views = "one view" if protocol["views"] == 1 else f"{protocol['views']} views"
    refined = "with CRF" if protocol["crf"] else "no CRF"
    return f"{protocol['labels']} labels, background {protocol['background']}, {views}, {refined}"


def _matrix(counts: list[list[int]], tissues: TissueSet, background_ignored: bool) -> tuple[TruthRow, ...]:
    matrix = np.array(counts)
    names = tissues.names if background_ignored else (*tissues.names, "background")
    return tuple(
        TruthRow(
            name,
            i,
            f"{matrix[i].sum():,}".replace(",", "\u2009"),
            tuple((matrix[i] / matrix[i].sum()).tolist()) if matrix[i].sum() else (None,) * len(matrix),
        )
        for i, name in enumerate(names)
    )
