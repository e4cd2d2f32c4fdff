"""The gallery of prototypes as a page and as tables: `prototypes.html`, `tissues.csv`, `prototypes.csv`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from histoproto.data.layouts import DataFolder, Patch, open_data
from histoproto.documents.tables import write_table
from histoproto.errors import DataError, RunError
from histoproto.evaluation.prototypes import PrototypeScores
from histoproto.ledger import Ledger, own
from histoproto.model.archive import opened
from histoproto.model.network import HasPrototypes
from histoproto.model.saving import ModelCard, load_model
from histoproto.report.page import render
from histoproto.report.prototypes import Place, PrototypeMaps, collect_maps, measure, places_of

PLACES = 7
VIEWS = 400


@dataclass(frozen=True)
class PrototypeRow:
    """One prototype: its number (from 1), its figures in words, the places where it fires most."""

    number: int
    summary: str
    places: tuple[Place, ...]


@dataclass(frozen=True)
class TissueRows:
    """The prototypes of one tissue."""

    name: str
    colour: str
    summary: str
    prototypes: tuple[PrototypeRow, ...]


@dataclass(frozen=True)
class PrototypeGallery:
    """All prototypes, with a note on what they were shown."""

    note: str
    tissues: tuple[TissueRows, ...]
    scores: PrototypeScores
    found: PrototypeMaps


def split_to_show(data: DataFolder) -> tuple[str, Sequence[Patch]]:
    """The first of test, val and train that has patches, with its name.

    Raises:
        DataError: there are none.
    """
    for name in ("test", "val", "train"):
        patches: tuple[Patch, ...] = getattr(data, name)
        if patches:
            return name, patches
    raise DataError(f"{data.root} holds no patches to show; check it with `histoproto data check`")


def make_prototype_gallery(network: HasPrototypes, card: ModelCard, data: DataFolder) -> PrototypeGallery:
    """Where the prototypes fire most among (at most 400 evenly spaced) patches, and how they share their tissue."""
    split, patches = split_to_show(data)
    found = collect_maps(network, card, patches, data.tissues, VIEWS)
    scores = measure(found)
    masked = found.truth is not None
    tissues = []
    for c, tissue in enumerate(card.tissues.tissues):
        rows = tuple(
            PrototypeRow(k + 1, _words(scores, c, k), places_of(found, card, c, k, PLACES))
            for k in range(found.maps.shape[2])
        )
        words = _tissue_words(scores, c, len(rows))
        if c in card.remainder:
            words = f"It was in every training patch, so these have no say in where it is mapped. {words}"
        tissues.append(TissueRows(tissue.name, tissue.colour, words, rows))
    note = (
        f"Where each prototype is strongest among {len(found.views)} {split} patches, wherever that is; all but the "
        "fifth of the patch where it is strongest is faded."
    )
    if masked:
        note += " The line below a picture has the colour of the true tissue at the strongest point."
    else:
        note += " There are no masks, so regions are those that the model finds among the labelled tissues."
    return PrototypeGallery(note, tuple(tissues), scores, found)


def _words(scores: PrototypeScores, tissue: int, prototype: int) -> str:
    purity = scores.purity[tissue, prototype]
    return "" if math.isnan(purity) else f"purity {100 * purity:.0f} %"


def _tissue_words(scores: PrototypeScores, tissue: int, prototypes: int) -> str:
    if math.isnan(scores.coverage[tissue]):
        return "Its region is too small in these patches to be measured."
    words = f"Together they cover {100 * scores.coverage[tissue]:.0f} % of the tissue's region"
    if prototypes > 1:
        words += (
            f"; two of them overlap by {100 * scores.overlap[tissue]:.0f} % (IoU of their strongest fifths); "
            f"{scores.effective[tissue]:.1f} of {prototypes} are in use"
        )
    return words + "."


def write_prototypes(run: Path, data: Path, out: Path) -> Path:
    """Write the gallery of a run's prototypes on a data folder, and what was measured as CSV.

    Returns:
        The page, `out/prototypes.html`.

    Raises:
        RunError: there is no model, or one without prototypes.
        DataError, TissueError, OutputError: see `open_data`, `collect_maps`.
    """
    network, card = load_model(opened(run))
    if not isinstance(network, HasPrototypes):
        raise RunError(f"the model in {run} ({card.method}) has no prototypes; give a run of lpd or pbip")
    Ledger(out).require_own(out / name for name in ("tissues.csv", "prototypes.csv", "prototypes.html"))
    gallery = make_prototype_gallery(network, card, open_data(data))
    names, scores = card.tissues.names, gallery.scores
    peaks = gallery.found.maps.amax(dim=(0, 3, 4))
    _write_csv(
        out / "tissues.csv",
        ("tissue", "patches", "coverage", "overlap", "effective_prototypes"),
        zip(names, scores.patches, scores.coverage, scores.overlap, scores.effective, strict=True),
    )
    _write_csv(
        out / "prototypes.csv",
        ("tissue", "prototype", "purity", "highest_activation"),
        (
            (name, k + 1, scores.purity[c, k], float(peaks[c, k]))
            for c, name in enumerate(names)
            for k in range(peaks.shape[1])
        ),
    )
    return render(out / "prototypes.html", "prototypes.html.j2", title=run.resolve().name, gallery=gallery)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with own(path):
        write_table(
            path, header, ([f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row] for row in rows)
        )
