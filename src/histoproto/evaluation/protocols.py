"""Protocols: how a score was measured, without which it cannot be compared; and `evaluate`, which measures.

`metrics.json` of a run folder holds what was measured: `{protocol: {split: result}}`, a result as `summary.summarise`
makes it. A new result replaces that of the same protocol and split and leaves the others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from histoproto.config import InferenceSettings
from histoproto.data.fingerprint import fingerprint
from histoproto.data.groups import Split
from histoproto.data.layouts import Patch, open_data
from histoproto.data.leaks import find_leaks, refuse_leaks, shared_images
from histoproto.documents.json_file import read_json
from histoproto.documents.shapes import as_form
from histoproto.errors import DocumentError, HistoProtoError, SettingError
from histoproto.evaluation.confusion import Treatment
from histoproto.evaluation.patches import evaluate_patches
from histoproto.evaluation.result_form import ResultForm
from histoproto.evaluation.summary import summarise
from histoproto.files import replace_atomically
from histoproto.inference.background import Background
from histoproto.inference.fusion import Fusion
from histoproto.inference.segmenter import Segmenter
from histoproto.inference.settings import change_settings
from histoproto.inference.views import VIEWS
from histoproto.lock import file_lock
from histoproto.record import read_record

METRICS_FILE = "metrics.json"

Result = dict[str, Any]


_CHOICES = {
    "labels": ("predicted", "oracle"),
    "background": get_args(Treatment),
    "views": tuple(VIEWS),
    "crf": (False, True),
    "fusion": (None, *get_args(Fusion)),
    "find_background": get_args(Background),
}


@dataclass(frozen=True)
class Protocol:
    """What must be the same for two scores to be comparable."""

    labels: Literal["predicted", "oracle"] = "predicted"
    """Tissues a mask may show: those the classifier finds in the patch, or those of the true mask."""
    background: Treatment = "ignored"
    """Pixels of true background: left out, or scored."""
    views: Literal[1, 6] = 1
    crf: bool = False
    fusion: Fusion | None = None
    """None: the default of the model."""
    fusion_weights: tuple[float, float, float] | None = None
    """Of scales 2, 3, 4; None: the default of the model."""
    find_background: Background = "none"
    """How masks find background. Where it is ignored, finding any can only cost."""

    def __post_init__(self) -> None:
        for part, choices in _CHOICES.items():
            found = getattr(self, part)
            if found not in choices:
                raise SettingError(
                    f"a protocol's {part} must be one of {', '.join(map(str, choices))}, found {found!r}"
                )

    def settings(self, defaults: InferenceSettings) -> InferenceSettings:
        """The settings for prediction, given those of the model."""
        return change_settings(
            defaults,
            fusion=self.fusion or defaults.fusion,
            fusion_weights=self.fusion_weights or defaults.fusion_weights,
            background=self.find_background,
            views=self.views,
            crf=self.crf,
            abstain=0,  # every pixel is scored
        )

    @property
    def name(self) -> str:
        """`honest`, `told`, `paper`, or what sets it apart from `honest`, such as `labels=oracle,views=6`."""
        for name, known in PROTOCOLS.items():
            if self == known:
                return name
        plain = asdict(Protocol())
        return ",".join(f"{key}={value}" for key, value in asdict(self).items() if value != plain[key])


PROTOCOLS = {
    "honest": Protocol(),
    "told": Protocol(labels="oracle"),
    "paper": Protocol("oracle", "counted", 6, True, "minmax", (0.3, 0.3, 0.4), "activation"),
}
"""In the order in which they are shown; `PURPOSES` says what each is for."""

PURPOSES = {
    "honest": "what to expect on new images, whose tissues nobody knows; compare models by it",
    "told": "an upper bound: honest, but told which tissues are in each image; from honest to it is what confusion of "
    "tissues costs, from it to 100 % what borders cost",
    "paper": "as LPD and PBIP are reported, to compare with their figures; no upper bound, for its rule for background "
    "is scored as well",
}

_FORMER_NAMES = {"labels=oracle": "told"}
"""Protocols that had no name of their own when a metrics.json was written."""


def evaluate(
    run: Path,
    data: Path,
    protocols: Sequence[str | Protocol] = ("honest",),
    split: Split = "test",
    device: str = "auto",
    groups: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    segmenter: Segmenter | None = None,
    allow_leak: bool = False,
) -> dict[str, Result]:
    """Measure a trained model on masked patches and add the results to RUN/metrics.json.

    Args:
        run: run folder.
        data: data folder in a known layout; its tissues must be among the model's, in any order.
        protocols: names of `PROTOCOLS`, or protocols.
        split: `train`, `val` or `test`; every patch of it needs a mask.
        device: see `Segmenter`.
        groups: also keep a confusion matrix per region, for intervals by bootstrap over regions.
        segmenter: the model of the run, where it is loaded already.
        progress: called with protocol, patches done and patches in all.
        allow_leak: go on, and record it, although groups or images are in two of train, val and test, or among what the
            run was trained on (`split` train: of course).

    Returns:
        Results by the name of the protocol.

    Raises:
        RunError, WeightsError, DocumentError: no trained model, or a damaged metrics.json.
        DataError, ImageError, TissueError: patches without masks, unreadable files, tissues the model does not know.
        SettingError: there is no such protocol or device.

    >>> evaluate(Path("RUN"), Path("DATA")).keys()  # doctest: +SKIP
    """
    chosen = [find_protocol(protocol) for protocol in protocols]
    segmenter = segmenter or Segmenter.load(run, device)
    load_metrics(run)  # a damaged file is better found before than after the work
    folder = open_data(data)
    patches = folder.split(split)
    source = {"folder": str(data), "layout": folder.layout, "split": split, "patches": len(patches)}
    source["fingerprint"] = fingerprint(patches)
    if split != "train" and (leaks := [*find_leaks(folder), *_learnt_from(run, data, patches)]):
        refuse_leaks(leaks, data, allow_leak, "--allow-leak")
        source["leaks"] = leaks
    results = {}
    for protocol in chosen:
        settings = protocol.settings(segmenter.card.inference)

        def tell(done: int, protocol: Protocol = protocol) -> None:
            if progress:
                progress(protocol.name, done, len(patches))

        found = evaluate_patches(segmenter, patches, folder.tissues, settings, protocol.labels == "oracle")
        results[protocol.name] = {
            "protocol": {
                "labels": protocol.labels,
                "background": protocol.background,
                "views": settings.views,
                "crf": settings.crf,
                "fusion": settings.fusion,
                "fusion_weights": list(settings.fusion_weights),
                "find_background": settings.background,
            },
            "data": source,
            **summarise(found, segmenter.tissues, segmenter.card.thresholds, protocol.background, groups, tell),
        }
        save_metrics(run, protocol.name, split, results[protocol.name])
    return results


def _learnt_from(run: Path, data: Path, patches: Sequence[Patch]) -> list[str]:
    """Whether a run has learnt from these images in another data folder, as far as that is still there."""
    try:
        learnt = Path(str(read_record(run / "record.json").get("data")))
        if learnt.resolve() == data.resolve():
            return []
        same = shared_images(open_data(learnt, strict=False).train, patches)
    except HistoProtoError:
        return []
    return [f"{len(same)} images were trained on, as {learnt}/…/{same[0][0].name}"] if same else []


def find_protocol(protocol: str | Protocol) -> Protocol:
    """A protocol by its name."""
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise SettingError(f"there is no protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[protocol]


def load_metrics(run: Path) -> dict[str, dict[str, Result]]:
    """What was measured so far: results by protocol and split; nothing if nothing was.

    Raises:
        DocumentError: metrics.json is damaged.
    """
    path = run / METRICS_FILE
    if not os.path.lexists(path):
        return {}
    try:
        metrics: dict[str, dict[str, Result]] = read_json(path)
        as_form(metrics, dict[str, dict[str, ResultForm]], str(path))
    except DocumentError as error:
        raise DocumentError(f"{error}; move the file away and evaluate again") from error
    named: dict[str, dict[str, Result]] = {}
    for name, splits in metrics.items():
        named.setdefault(_FORMER_NAMES.get(name, name), {}).update(splits)
    return named


def save_metrics(run: Path, protocol: str, split: str, result: Result) -> None:
    """Add a result to RUN/metrics.json, in one step; of several processes that do, none loses another's."""
    with file_lock(run / ".metrics.lock", "forever"):
        metrics = load_metrics(run)
        metrics.setdefault(protocol, {})[split] = result
        with replace_atomically(run / METRICS_FILE, lasting=True) as temporary:
            temporary.write_text(json.dumps(metrics, indent=2, allow_nan=False), encoding="utf-8")
