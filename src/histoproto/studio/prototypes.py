"""What the prototypes of a round look for; names for them, and switches, that outlast the round."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from histoproto.documents.shapes import read_json_as
from histoproto.errors import SettingError
from histoproto.files import replace_atomically
from histoproto.model.network import PrototypeNetwork
from histoproto.model.saving import CARD_FILE, load_card, load_model
from histoproto.studio.project import Project

FILE = "prototypes.json"
SAME = 0.9
"""Cosine from which a prototype of a later round is taken for the same one. The encoder of rounds stays frozen, so
that directions in the space of its features mean the same in all of them."""

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Remembered:
    """What somebody said of a prototype.

    Attributes:
        tissue: name of its tissue.
        direction: of the prototype in the features of the last scale, D numbers of length 1.
        name: "" for none.
        off: whether models go on without it.
    """

    tissue: str
    direction: list[float]
    name: str = ""
    off: bool = False


@dataclass(frozen=True)
class _Notes:
    prototypes: list[Remembered]


def remembered(project: Project) -> list[Remembered]:
    """All that was said of prototypes."""
    path = project.folder / FILE
    return read_json_as(path, _Notes).prototypes if path.is_file() else []


def directions(network: PrototypeNetwork) -> Numbers:
    """Of all prototypes in the features of the last scale, C×K×D, each of length 1."""
    with torch.no_grad():
        found = torch.nn.functional.normalize(network.bank.project()[-1], dim=-1)
    return found.float().cpu().numpy()


def recognised(notes: Sequence[Remembered], found: Numbers, tissues: Sequence[str]) -> dict[tuple[int, int], int]:
    """The note about each prototype that has one: by tissue and number, its place among the notes.

    A note is about the prototype of its tissue that is most like it, if that is like it at all; of several notes about
    one prototype the last counts.
    """
    matches: dict[tuple[int, int], int] = {}
    for place, note in enumerate(notes):
        if note.tissue in tissues:
            tissue = tissues.index(note.tissue)
            cosines = found[tissue] @ np.array(note.direction, np.float32)
            if cosines.max() >= SAME:
                matches[tissue, int(cosines.argmax())] = place
    return matches


def switched_off(project: Project, network: PrototypeNetwork) -> tuple[tuple[int, int], ...]:
    """The prototypes that a model is to go on without, as tissue and number; never all of a tissue."""
    notes, found = remembered(project), directions(network)
    matches = recognised(notes, found, project.tissues.names)
    off = sorted(at for at, place in matches.items() if notes[place].off)
    counts = [sum(tissue == at[0] for at in off) for tissue in range(len(found))]
    return tuple(at for at in off if counts[at[0]] < found.shape[1])


def carry_over(project: Project, run: Path) -> None:
    """Leave out of a newly trained model the prototypes that were switched off before; its card records it."""
    network, _ = load_model(run)
    if isinstance(network, PrototypeNetwork):
        leave_out(run, switched_off(project, network))


def leave_out(run: Path, prototypes: Sequence[tuple[int, int]]) -> None:
    """Let the model of a run folder go on without some prototypes (tissue and number), and no others."""
    card = load_card(run)
    if tuple(card.left_out) != tuple(prototypes):
        with replace_atomically(run / CARD_FILE, lasting=True) as temporary:
            text = card.model_copy(update={"left_out": tuple(prototypes)}).model_dump_json(indent=2)
            temporary.write_text(text, encoding="utf-8")


def remember(
    project: Project, run: Path, tissue: int, prototype: int, *, name: str | None = None, off: bool | None = None
) -> None:
    """Keep a name for a prototype of a model, or that later models go on without it.

    Args:
        project: where it is kept.
        run: folder of the model.
        tissue, prototype: which.
        name: "": none any more; None: as before.
        off: whether it is switched off; None: as before.

    Raises:
        SettingError: there is no such prototype, or it is the last one of its tissue that is on.
    """
    network, card = load_model(run)
    assert isinstance(network, PrototypeNetwork)
    found, names = directions(network), project.tissues.names
    if not (0 <= tissue < found.shape[0] and 0 <= prototype < found.shape[1]):
        raise SettingError(f"there is no prototype {prototype} of tissue {tissue}")
    if off and found.shape[1] - len({k for t, k in card.left_out if t == tissue} | {prototype}) < 1:
        raise SettingError(f"this is the last prototype of {names[tissue]} that is on; one has to stay")
    notes = remembered(project)
    place = recognised(notes, found, names).get((tissue, prototype))
    direction = [round(float(value), 5) for value in found[tissue, prototype]]
    note = notes[place] if place is not None else Remembered(names[tissue], direction)
    note = replace(note, direction=direction, name=note.name if name is None else name.strip()[:60])
    note = replace(note, off=note.off if off is None else off)
    kept = [*(one for i, one in enumerate(notes) if i != place), note]
    with replace_atomically(project.folder / FILE, lasting=True) as temporary:
        temporary.write_text(json.dumps(asdict(_Notes(kept)), ensure_ascii=False) + "\n", encoding="utf-8")
