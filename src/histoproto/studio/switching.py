"""A round without a prototype that learnt an artefact, or with it again."""

from __future__ import annotations

import shutil

from histoproto.model.saving import load_card
from histoproto.studio.learning import Told, finish_round
from histoproto.studio.project import Project, link
from histoproto.studio.prototypes import leave_out, remember
from histoproto.studio.rounds import finished_rounds, model_folder, next_round, read_scores, round_folder


def switch(project: Project, tissue: int, prototype: int, off: bool, told: Told = lambda *_: None) -> int:
    """A round that is the last one without a prototype, or with it again; its number.

    Nothing is trained: weights are shared with the last round, the card says what is left out. So it can be compared
    with the last round, and later rounds go on without it as far as they have such a prototype.

    Raises:
        DataError: there is no round yet; SettingError: see `remember`.
    """
    old = model_folder(project, max(finished_rounds(project), default=0))
    remember(project, old, tissue, prototype, off=off)
    number = next_round(project)
    folder = round_folder(project, number)
    shutil.rmtree(folder, ignore_errors=True)  # of a round that was stopped
    for path in old.rglob("*"):
        if path.is_file() and "checkpoints" not in path.parts:
            target = folder / "run" / path.relative_to(old)
            target.parent.mkdir(parents=True, exist_ok=True)
            link(path, target)
    left_out = set(load_card(old).left_out) - {(tissue, prototype)} | ({(tissue, prototype)} if off else set())
    leave_out(folder / "run", sorted(left_out))
    finish_round(project, number, read_scores(project)[-1], told)
    return number
