"""The tissue classes of a data set: names, colours, index order and background.

Inside HistoProto a *label map* is a uint8 array whose value is the index of the tissue, 0 … C − 1, and C for background
(glass, or pixels excluded from scoring). Files may use other values; `TissueSet.encode` translates them on reading.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from histoproto.documents.names import check_text
from histoproto.documents.yaml_file import read_yaml
from histoproto.errors import SettingError, TissueError, shown

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_DEFAULT_COLOURS = ("#d62728", "#2ca02c", "#1f77b4", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf")
LONGEST_NAME = 100
MOST_TISSUES = 253
"""So that a byte holds background, uncertain places and one value that means nothing."""
_BACKGROUND_COLOUR, UNCERTAIN_COLOUR = "#ffffff", "#7f7f7f"
UNCERTAIN = "uncertain"
"""The label of places whose tissue a model does not dare to name; no tissue may be called so."""
_JOINERS = "\u200c\u200d"
"""Are not seen either, but belong to the spelling of some languages."""


@dataclass(frozen=True)
class Tissue:
    """One tissue class: its name, its colour (`#rrggbb`) and its value in mask files (0 … 255)."""

    name: str
    colour: str
    value: int


@dataclass(frozen=True)
class TissueSet:
    """The tissues of a data set in index order, and the value that means background in its mask files.

    >>> tissues = TissueSet.of("tumour", "stroma")
    >>> len(tissues), tissues.background_index, tissues.names
    (2, 2, ('tumour', 'stroma'))
    """

    tissues: tuple[Tissue, ...]
    background: int

    def __post_init__(self) -> None:
        names = [tissue.name for tissue in self.tissues]
        values = [tissue.value for tissue in self.tissues]
        for name in names:
            _check_name(name)
        if len(names) > MOST_TISSUES:
            raise TissueError(f"at most {MOST_TISSUES} tissue classes can be told apart, found {len(names)}")
        if not names:
            raise TissueError("no tissue classes were given; name at least one")
        if len(set(names)) < len(names) or not all(names):
            raise TissueError(f"tissue names must be different and not empty, found {names}")
        looks = [unicodedata.normalize("NFC", name).casefold() for name in names]
        if twice := [name for name, look in zip(names, looks, strict=True) if looks.count(look) > 1]:
            raise TissueError(f"tissue names must differ by more than case or accents as two letters, found {twice}")
        if len({*values, self.background}) < len(values) + 1:
            raise TissueError(f"mask values must be different, found {values} and background {self.background}")
        if not all(type(value) is int and 0 <= value <= 255 for value in (*values, self.background)):
            raise TissueError(f"mask values must be whole numbers from 0 to 255, found {values}, {self.background}")
        for tissue in self.tissues:
            if not _COLOUR.fullmatch(tissue.colour):
                raise TissueError(
                    f"the colour of {tissue.name!r} must look like '#1f77b4', found {shown(tissue.colour)}"
                )

    @classmethod
    def of(cls, *names: str) -> TissueSet:
        """Tissues with the default colours, mask values 0 … C − 1 and background C."""
        count = len(_DEFAULT_COLOURS)
        tissues = tuple(Tissue(name, _DEFAULT_COLOURS[i % count], i) for i, name in enumerate(names))
        return cls(tissues, len(tissues))

    @classmethod
    def from_dict(cls, content: Any, source: str = "the tissue classes") -> TissueSet:
        """From `{"classes": [{"name", "value", "colour"}, …], "background": int}`; value and colour may be left out.

        Raises:
            TissueError: the content has another form; `source` names it in the message.
        """
        try:
            _refuse_unknown(content, ("classes", "background"), "")
            for number, entry in enumerate(content["classes"], start=1):
                _refuse_unknown(entry, ("name", "value", "colour"), f" of class {number}")
            default = cls.of(*(entry["name"] for entry in content["classes"])).tissues
            tissues = tuple(
                Tissue(plain.name, str(entry.get("colour", plain.colour)), entry.get("value", plain.value))
                for entry, plain in zip(content["classes"], default, strict=True)
            )
            return cls(tissues, content.get("background", len(tissues)))
        except (KeyError, TypeError, AttributeError) as error:
            raise TissueError(
                f"{source}: expected 'classes', a list of name, value and colour, and 'background', a mask value"
            ) from error
        except TissueError as error:
            raise TissueError(f"{source}: {error}") from error

    @classmethod
    def read(cls, path: Path) -> TissueSet:
        """Read a `classes.yaml`."""
        return cls.from_dict(read_yaml(path), str(path))

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        classes = [{"name": t.name, "value": t.value, "colour": t.colour} for t in self.tissues]
        return {"classes": classes, "background": self.background}

    def write(self, path: Path) -> None:
        """Write a `classes.yaml`."""
        path.write_text(yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8")

    def __len__(self) -> int:
        return len(self.tissues)

    @property
    def names(self) -> tuple[str, ...]:
        """Tissue names in index order."""
        return tuple(tissue.name for tissue in self.tissues)

    @property
    def background_index(self) -> int:
        """The index of background in a label map: C."""
        return len(self.tissues)

    def index(self, name: str) -> int:
        """The index of a tissue, by name."""
        if name not in self.names:
            raise TissueError(f"there is no tissue {name!r}; there are {', '.join(self.names)}")
        return self.names.index(name)

    @property
    def uncertain_index(self) -> int:
        """The index of places that were left uncertain: C + 1."""
        return len(self.tissues) + 1

    @property
    def uncertain_value(self) -> int:
        """Their value in mask files: the highest that is free, mostly 255."""
        taken = {self.background, *(tissue.value for tissue in self.tissues)}
        return next(value for value in range(255, -1, -1) if value not in taken)

    def rgb(self) -> NDArray[np.uint8]:
        """Colours as a (C + 1) × 3 uint8 array in index order, background (white) last."""
        return self.palette()[:-1]

    def palette(self) -> NDArray[np.uint8]:
        """Colours of all that maps may show, (C + 2) × 3: as `rgb`, and then that of uncertain places (grey)."""
        colours = [*(tissue.colour for tissue in self.tissues), _BACKGROUND_COLOUR, UNCERTAIN_COLOUR]
        return np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours], dtype=np.uint8)

    def encode(self, mask: NDArray[np.integer[Any]], source: str = "the mask") -> NDArray[np.uint8]:
        """Mask file values (H × W) → label map of indices (H × W).

        Raises:
            TissueError: the mask holds a value that is neither a tissue nor background.
        """
        table = np.full(256, 255, dtype=np.uint8)
        for index, tissue in enumerate(self.tissues):
            table[tissue.value] = index
        table[self.background] = self.background_index
        known = [tissue.value for tissue in self.tissues] + [self.background]
        unknown = sorted(set(_values(mask)) - set(known))
        if unknown:
            more = " …" if len(unknown) > 10 else ""
            raise TissueError(
                f"{source} holds the values {', '.join(map(str, unknown[:10]))}{more}, expected only "
                f"{', '.join(map(str, known))} (see classes.yaml)"
            )
        return np.asarray(table[mask])

    def decode(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Label map of indices → mask file values; the inverse of `encode`, which knows no uncertain places."""
        values = [*(tissue.value for tissue in self.tissues), self.background, self.uncertain_value]
        return np.array(values, dtype=np.uint8)[labels]


def _check_name(name: Any) -> None:
    """Names are written into files, tables and pages, and are the keys of many; `no` and `1` in YAML are no text."""
    if not isinstance(name, str):
        raise TissueError(f"the name of a class must be text, found {shown(name)}; put it in quotes")
    if len(name) > LONGEST_NAME or name != name.strip():
        raise TissueError(
            f"the name of a class has at most {LONGEST_NAME} letters and no blanks around it, found {shown(name)}"
        )
    if name.casefold() == UNCERTAIN:
        raise TissueError(f"no class may be called {name!r}: that is the label of places that a model leaves open")
    if name.casefold() == "background":
        raise TissueError(f"no class may be called {name!r}: that is the label of what is no tissue; call it glass")
    if odd := [letter for letter in name if unicodedata.category(letter) == "Cf" and letter not in _JOINERS]:
        raise TissueError(f"the name of a class is {name!a}, which holds {odd[0]!a}, a letter that is not seen")
    try:
        check_text(name, "the name of a class")
    except SettingError as error:
        raise TissueError(str(error)) from error


_MEANT = {"color": "colour", "id": "value", "label": "value", "index": "value", "ignore_index": "background"}
"""What others call the keys of a `classes.yaml`."""


def _refuse_unknown(entry: dict[str, Any], known: Sequence[str], where: str) -> None:
    """A key that is passed over shifts every class by one, and nobody notices."""
    for key in entry.keys() - set(known):
        meant = f"; did you mean {_MEANT[key]!r}?" if _MEANT.get(key) in known else ""
        raise TissueError(f"there is no key {shown(key)}{where}, only {', '.join(known)}{meant}")


def _values(mask: NDArray[np.integer[Any]]) -> list[int]:
    """The values of a mask; counting bytes is ten times as fast as sorting them."""
    found = np.flatnonzero(np.bincount(mask.reshape(-1))) if mask.dtype == np.uint8 else np.unique(mask)
    return [int(value) for value in found]


BCSS = TissueSet.of("tumour", "stroma", "lymphocytes", "necrosis")
"""BCSS-WSSS (breast): order of the file-name label, background 4."""

LUAD_HISTOSEG = TissueSet.of("tumour", "necrosis", "lymphocytes", "stroma")
"""LUAD-HistoSeg (lung): order of the file-name label, background 4."""

WSSS4LUAD = TissueSet.of("tumour", "stroma", "normal")
"""WSSS4LUAD (lung): order of the file-name label, background 3."""
