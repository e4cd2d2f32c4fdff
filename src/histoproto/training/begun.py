"""On which data a run was begun, so that it is never resumed on other data: `checkpoints/data.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from histoproto.config import Settings
from histoproto.data.fingerprint import contents_of
from histoproto.data.layouts import Patch
from histoproto.documents.shapes import read_json_as
from histoproto.errors import RunError
from histoproto.files import replace_atomically
from histoproto.training.material import Material

CHECKPOINTS, DATA_FILE = "checkpoints", "data.json"

Listing = dict[str, list[tuple[str, str]]]
"""By part (training, held out, val): name and content of each patch, in the order in which the run counts them."""


@dataclass(frozen=True)
class Begun:
    """What a run learns from, patch by patch, and the settings it does it with.

    Attributes:
        listing: the patches.
        key: names both; what was computed from them carries it (checkpoints, teacher features).
    """

    listing: Listing
    key: str

    @classmethod
    def of(cls, material: Material, settings: Settings) -> Begun:
        """Read all images of a run once.

        Raises:
            ImageError: one cannot be read.
        """
        parts = {"training": material.training.patches}
        if material.held_out:
            parts["held_out"] = material.held_out.patches
        if settings.data.validate_with == "masks":
            parts["val"] = material.folder.split("val")
        listing = {name: _listed(patches, material.folder.root) for name, patches in parts.items()}
        text = json.dumps(listing) + settings.to_yaml()
        return cls(listing, hashlib.sha256(text.encode()).hexdigest()[:16])

    def write(self, out: Path) -> None:
        """Into the run folder."""
        with replace_atomically(out / CHECKPOINTS / DATA_FILE, lasting=True) as temporary:
            temporary.write_text(json.dumps(self.listing), encoding="utf-8")

    def check(self, out: Path) -> None:
        """Compare with what the run in `out` was begun on; a run that has no checkpoint yet may begin on anything.

        Raises:
            RunError: other patches, said which.
        """
        path = out / CHECKPOINTS / DATA_FILE
        if not path.exists():
            if any((out / CHECKPOINTS).glob("[!.]*")):
                raise RunError(
                    f"{path}, which says on which data the run was begun, is missing; train in another folder"
                )
            self.write(out)
            return
        begun = read_json_as(path, Listing)
        if begun == self.listing:
            return
        mend = "bring back the data as it was, or train in another folder"
        raise RunError(f"{out} was begun on other data: {_difference(begun, self.listing)}; {mend}")


def _listed(patches: Sequence[Patch], root: Path) -> list[tuple[str, str]]:
    names = [p.image.relative_to(root).as_posix() if p.image.is_relative_to(root) else p.image.name for p in patches]
    return list(zip(names, contents_of(patches), strict=True))


def _difference(before: Listing, now: Listing) -> str:
    """In words, with the first name of each kind."""
    old, new = ({name: content for part in each.values() for name, content in part} for each in (before, now))
    kinds = {
        "missing": [name for name in old if name not in new],
        "new": [name for name in new if name not in old],
        "changed (image, label, group or mask)": [n for n, content in old.items() if new.get(n, content) != content],
    }
    found = [f"{len(names)} of {len(old)} patches are {kind} ({names[0]})" for kind, names in kinds.items() if names]
    return ", ".join(found) or "the patches are in another order, or others are held out"
