"""What a finished run of a comparison came to: figures by column, confusion matrices by region, what must be alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from histoproto.compare.plan import Plan, Variant
from histoproto.compare.work import FIRST_STAGE, PROTOTYPES_FILE
from histoproto.config import load_settings
from histoproto.documents.shapes import read_json_as
from histoproto.errors import DocumentError
from histoproto.evaluation.confusion import Matrix
from histoproto.evaluation.protocols import METRICS_FILE, load_metrics
from histoproto.model.saving import CARD_FILE, load_card
from histoproto.record import read_record
from histoproto.report.protocols import meaning
from histoproto.training.folder import CONFIG_FILE, RECORD_FILE

ORACLE = "told"


@dataclass(frozen=True)
class Column:
    """A figure of the table: key, heading, the factor and decimals it is shown with, and what it means (if unclear)."""

    key: str
    heading: str
    factor: float = 1.0
    decimals: int = 1
    meaning: str = ""
    better: int = 0
    """1: higher is better, −1: lower, 0: neither."""


COLUMNS = (
    Column("miou", "mIoU", 100, 1, "mean IoU over tissues", 1),
    Column("mdice", "mDice", 100, 1, "mean Dice over tissues", 1),
    Column("fwiou", "FwIoU", 100, 1, "IoU weighted by the area of the tissues", 1),
    Column("boundary_iou", "boundary IoU", 100, 1, "IoU of bands along outlines, mean over tissues", 1),
    Column("mislabelled", "mislabelled", 100, 1, "share of the area given to a tissue that is not in the patch", -1),
    Column("map", "mAP", 100, 1, "mean average precision of the image-level classifier", 1),
    Column("oracle_miou", "oracle mIoU", 100, 1, "mIoU when told which tissues are in the patch", 1),
    Column("paper_miou", "paper mIoU", 100, 1, "mIoU under the protocol `paper`", 1),
    Column("coverage", "coverage", 1, 2, "part of a tissue's region in the top 20 % of any of its prototypes", 1),
    Column("overlap", "overlap", 1, 2, "IoU of the top 20 % locations of two prototypes of a tissue", -1),
    Column("effective", "effective", 1, 1, "effective number of prototypes per tissue", 1),
    Column("purity", "purity", 1, 2, "part of the locations where a prototype is strongest that is its own tissue", 1),
    Column("seconds", "min", 1 / 60, 1, "minutes of training, all stages", -1),
    Column("processor_seconds", "processor min", 1 / 60, 1, "minutes of processor time for it", -1),
    Column("parameters", "M parameters", 1e-6, 2, "parameters, in millions", -1),
    Column("peak_memory_mib", "GiB", 1 / 1024, 1, "peak memory of training", -1),
)
"""The figures of a run beside the IoU of each tissue, which come after the first under `iou TISSUE`."""


@dataclass(frozen=True)
class RunResult:
    """A finished run."""

    variant: Variant
    seed: int
    folder: Path
    values: dict[str, float]
    """By the key of a column; NaN where there is none."""
    regions: dict[str, Matrix]
    """Confusion matrices, protocol honest."""
    alike: dict[str, str]
    """What must be the same in all rows of a table, in words."""
    protocol: str
    """The protocol of the scores, in words."""
    tissues: tuple[str, ...]

    @property
    def two_stages(self) -> bool:
        """Whether its masks are those of a segmentation network trained on the masks of a first stage."""
        return (self.folder / FIRST_STAGE).is_dir()


def is_finished(variant: Variant, seed: int, run: Path, plan: Plan, paper: bool) -> bool:
    """Whether nothing is left to do for a run: it is trained, and measured on the plan's patches."""
    found = read_run(variant, seed, run)
    return (
        found is not None
        # A fold has a folder of its own, which nobody changes.
        and (plan.folds > 0 or found.alike["test patches"] == plan.fingerprints["test"])
        and found.values.keys() >= {"oracle_miou", *(["paper_miou"] if paper else [])}
    )


class _Prototypes(BaseModel):
    """What is shown of `prototypes.json`."""

    coverage: float | None = None
    overlap: float | None = None
    effective: float | None = None
    purity: float | None = None


def read_run(variant: Variant, seed: int, run: Path) -> RunResult | None:
    """A run; None if it is not trained or not measured yet.

    Raises:
        DocumentError: a damaged file.
    """
    try:
        return _read_run(variant, seed, run)
    except KeyError as error:
        raise DocumentError(f"{run}: {METRICS_FILE} or {CARD_FILE} has no {error}; evaluate the run again") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise DocumentError(f"{run}: {METRICS_FILE} is damaged ({error}); evaluate the run again") from error


def _read_run(variant: Variant, seed: int, run: Path) -> RunResult | None:
    if not all((run / name).exists() for name in (CARD_FILE, PROTOTYPES_FILE)):
        return None
    metrics = {name: splits["test"] for name, splits in load_metrics(run).items() if "test" in splits}
    if "honest" not in metrics or "groups" not in metrics["honest"]:
        return None
    honest, card, settings = metrics["honest"], load_card(run), load_settings(run / CONFIG_FILE)
    record, prototypes = read_record(run / RECORD_FILE), read_json_as(run / PROTOTYPES_FILE, _Prototypes)
    first = read_record(run / FIRST_STAGE / RECORD_FILE) or record
    values: dict[str, Any] = {
        **honest["scores"],
        "miou": honest["scores"]["miou"],  # which pages cannot do without
        **{f"iou {name}": scores["iou"] for name, scores in honest["tissues"].items()},
        "map": honest["classifier"]["mean_average_precision"],
        **{f"{key}_miou": metrics[name]["scores"]["miou"] for key, name in OTHERS.items() if name in metrics},
        **prototypes.model_dump(),
        **{key: record.get(key) for key in ("seconds", "processor_seconds", "parameters", "peak_memory_mib")},
    }
    return RunResult(
        variant,
        seed,
        run,
        {key: math.nan if value is None else float(value) for key, value in values.items()},
        {name: np.array(matrix, dtype=np.int64) for name, matrix in honest["groups"].items()},
        {
            "training patches": str(card.training_data["fingerprint"]),
            "test patches": honest["data"]["fingerprint"],
            "encoder": f"{card.model.encoder} ({card.model.weights or 'random weights'})",
            "epochs": str(first.get("epochs") or settings.training.epochs),  # a second stage is named by its row
            "batch size": str(settings.training.batch_size),
            "patch size": str(card.patch_size),
        },
        f"{meaning(honest['protocol'])}; {honest['data']['patches']} test patches of {len(honest['groups'])} regions",
        tuple(honest["tissues"]),
    )


OTHERS = {"oracle": ORACLE, "paper": "paper"}
"""By key: protocols beside the honest one whose mIoU is a figure."""


def columns_of(results: list[RunResult]) -> list[Column]:
    """The columns that at least one run has a figure for, those of the tissues after the first."""
    tissues = [Column(f"iou {name}", name, 100, 1, "", 1) for name in (results[0].tissues if results else ())]
    columns = [COLUMNS[0], *tissues, *COLUMNS[1:]]
    return [c for c in columns if any(not math.isnan(r.values.get(c.key, math.nan)) for r in results)]


def unlike(results: list[RunResult]) -> list[str]:
    """What should be the same in all rows and is not, one sentence each."""
    sentences = []
    for what in results[0].alike if results else ():
        found: dict[str, list[str]] = {}
        for result in results:
            labels = found.setdefault(result.alike[what], [])
            if result.variant.label not in labels:
                labels.append(result.variant.label)
        if len(found) > 1:
            each = "; ".join(f"{value} in {', '.join(labels)}" for value, labels in found.items())
            sentences.append(f"Not on the same footing: the rows differ in {what} ({each}).")
    return sentences
