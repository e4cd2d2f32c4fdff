"""`report.html`: everything about a run in one self-contained file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from histoproto.config import Settings, load_settings
from histoproto.data.layouts import open_data
from histoproto.inference.segmenter import Segmenter
from histoproto.ledger import Ledger
from histoproto.model.network import HasPrototypes
from histoproto.model.saving import load_card
from histoproto.record import read_record
from histoproto.report.charts import line_chart, read_history, title
from histoproto.report.gallery import Example, make_gallery
from histoproto.report.page import render
from histoproto.report.protocols import read_protocols
from histoproto.report.prototype_page import make_prototype_gallery, split_to_show

REPORT_FILE = "report.html"
EXAMPLES, CHOSEN_FROM = 3, 200


@dataclass(frozen=True)
class Fact:
    """A row of a two-column table."""

    name: str
    value: str
    changed: bool = False


def write_report(run: Path, data: Path | None = None) -> Path:
    """Write `report.html` into a run folder, from what is there: a missing history, record or scores are left out.

    Args:
        run: folder of a finished run.
        data: a data folder to show the model's work on; None: no pictures.

    Raises:
        RunError: there is no model in the folder.
        DataError, TissueError: the data folder cannot be read or is about other tissues.
        OutputError: the report cannot be written.
    """
    card = load_card(run)
    Ledger(run).require_own([run / REPORT_FILE])
    examples: list[Example] = []
    note, prototypes = "", None
    if data is not None:
        segmenter = Segmenter.load(run, device="cpu")
        folder = open_data(data)
        split, patches = split_to_show(folder)
        examples = make_gallery(segmenter, patches, folder.tissues, EXAMPLES, CHOSEN_FROM)
        if isinstance(segmenter.network, HasPrototypes):
            prototypes = make_prototype_gallery(segmenter.network, card, folder)
        note = _examples_note(examples, split, len(patches))
    record = read_record(run / "record.json")
    config = run / "config.yaml"
    settings = load_settings(config).model_dump(mode="json") if config.exists() else {}
    return render(
        run / REPORT_FILE,
        "report.html.j2",
        title=run.resolve().name,
        subtitle=_subtitle(card.method, card.model.encoder, settings, record),
        tissues=card.tissues.tissues,
        protocols=read_protocols(run, card.tissues),
        examples=examples,
        examples_note=note,
        gallery=prototypes,
        curves=[(title(curve.name), line_chart(curve)) for curve in read_history(run / "history.csv")],
        card=_facts(card.model_dump(mode="json")),
        settings=_facts(settings, Settings().model_dump(mode="json")),
        record=_facts(record),
    )


def _examples_note(examples: list[Example], split: str, count: int) -> str:
    if examples and examples[0].score is None:
        return f"Some of {count} {split} patches; there are no masks to rank them by."
    from_all = f" ({CHOSEN_FROM} evenly spaced of {count})" if count > CHOSEN_FROM else ""
    from_all = f" ({CHOSEN_FROM} evenly spaced of {count})" if count > CHOSEN_FROM else ""
    return (
        f"The best, the median and the worst {split} patches{from_all} by the mIoU of the single patch; the model "
        "finds out by itself what is there, and background is ignored. Patches of one tissue, all right or all wrong, "
        "are left out where there are enough others."
    )


def _subtitle(method: str, encoder: str, settings: dict[str, Any], record: dict[str, Any]) -> str:
    parts = [method.upper(), encoder]
    if "seed" in settings:
        parts.append(f"seed {settings['seed']}")
    if "finished" in record:
        parts.append(f"trained {str(record['finished'])[:10]}")
    if "seconds" in record:
        minutes, seconds = divmod(round(record["seconds"]), 60)
        parts.append(f"in {minutes} min" if minutes else f"in {seconds} s")
    return " · ".join(parts)


def _facts(content: dict[str, Any], default: dict[str, Any] | None = None) -> list[Fact]:
    """Nested values as rows with dotted names; `changed` where they differ from the default, if one is given."""
    usual = dict(_flat(default or {}))
    return [
        Fact(name, _text(value), default is not None and _text(usual.get(name)) != _text(value))
        for name, value in _flat(content)
    ]


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return ", ".join(f"{k}: {_text(v)}" for k, v in value.items()) if isinstance(value, dict) else str(value)
