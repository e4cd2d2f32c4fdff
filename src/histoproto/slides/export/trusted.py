"""How far a slide's map can be trusted, in numbers and sentences, for its record and the summary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from histoproto.config import InferenceSettings
from histoproto.inference.doubt import DOUBTFUL, STRANGE_FROM, notes_on_trust
from histoproto.model.saving import ModelCard
from histoproto.slides.export.areas import AreaRow, share_of_tissue
from histoproto.slides.labelling.trust import Trust

NOTED_FROM = 20.0
"""Per cent of a slide's tissue that is strange from which on a sentence says so; of held-out patches 5 % are."""

NEARLY_ALL = 90.0
"""Per cent of a slide's tissue that is doubtful from which on that says more of the model than of the slide."""


def trust_record(
    areas: Sequence[AreaRow], trust: Trust, card: ModelCard, settings: InferenceSettings
) -> dict[str, Any]:
    """What `record.json` has under `trust`.

    Returns:
        `doubtful` and `strange` (per cent of the tissue, None if unknown), `stain` and `sharpness` (per cent of what
        was seen of it), `doubtful_below` (chance), `temperature`, `abstain`, `sentences` on the
        slide and `notes` on what the model cannot tell.
    """
    doubtful, strange = share_of_tissue(areas, "doubtful"), share_of_tissue(areas, "strange")
    looks = {kind: 100 * share for kind, share in (trust.shares() or {}).items()}
    sentences = []
    if strange >= NOTED_FROM:
        expect = "expect little" if strange > 100 * STRANGE_FROM else "look at it with care"
        sentences.append(f"unlike the training patches: {strange:.0f} % of its tissue; {expect}")
    sentences += [
        f"its {kind} is unlike that of the training patches in {share:.0f} % of its tissue"
        for kind, share in looks.items()
        if share > 100 * STRANGE_FROM
    ]
    if doubtful >= NEARLY_ALL:
        sentences.append(
            f"doubtful in {doubtful:.0f} % of its tissue: the model has learnt too little to be sure of anything here"
        )
    return {
        "doubtful": None if math.isnan(doubtful) else round(doubtful, 2),
        "strange": None if math.isnan(strange) else round(strange, 2),
        **{kind: round(share, 2) for kind, share in looks.items()},
        "doubtful_below": DOUBTFUL,
        "temperature": card.temperature and card.temperature.value,
        "abstain": settings.abstain,
        "sentences": sentences,
        "notes": notes_on_trust(card, settings, trust.strange is not None),
    }
