"""What is compared: the rows of the table, kept in `comparison.json` so that the table can be rebuilt at any time."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from histoproto.config import load_settings
from histoproto.data.fingerprint import fingerprint
from histoproto.data.groups import Split
from histoproto.data.layouts import open_data
from histoproto.documents.ranges import in_range
from histoproto.documents.shapes import read_json_as
from histoproto.errors import RunError, SettingError
from histoproto.files import replace_atomically

PLAN_FILE = "comparison.json"
OF_A_RUN = ("method", "seed")
"""Settings that a comparison gives each run itself; in a settings file they are passed over."""
SECOND_STAGE = ":2"
"""Ends the name of a method that gets a second stage: a segmentation network trained on its masks."""


@dataclass(frozen=True)
class Variant:
    """A row of the table: a method under certain settings.

    Attributes:
        label: what it is called; names the folder of its runs, so it must differ from that of other rows.
        method: a name of `methods.registry.METHODS`.
        second_stage: whether a segmentation network is trained on its masks.
        settings: `group.key=value`, as `train --set` takes them.
    """

    label: str
    method: str
    second_stage: bool = False
    settings: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, shared: Sequence[str] = ()) -> Variant:
        """From `METHOD` or `LABEL: METHOD key=value …`; a METHOD that ends in `:2` gets a second stage.

        Args:
            text: see above.
            shared: settings of all rows; the row's own come after them.

        Raises:
            SettingError: there is no method in it, or something after it that is no setting.

        >>> Variant.parse("few: lpd:2 model.prototypes=3")
        Variant(label='few', method='lpd', second_stage=True, settings=('model.prototypes=3',))
        >>> Variant.parse("cam").label, Variant.parse("lpd:2").label
        ('cam', 'lpd:2')
        """
        label, colon, rest = text.partition(": ")
        name, *own = shlex.split(rest if colon else text) or [""]
        wrong = [part for part in own if "=" not in part]
        if not name or wrong or (own and not colon):
            raise SettingError(f"a row is METHOD or 'LABEL: METHOD key=value …', found {text!r}")
        method = name.removesuffix(SECOND_STAGE)
        return cls(label.strip() if colon else name, method, method != name, (*shared, *own))

    @property
    def folder(self) -> str:
        """The label as the name of a folder."""
        return re.sub(r"[^\w.=+]+", "-", self.label).strip("-.")

    @property
    def has_two_stages(self) -> bool:
        """Whether its runs have a second stage: because it says so, or its method or settings do."""
        from histoproto.methods.registry import PRESETS

        own = [f"method={json.dumps(self.method)}", *self.settings]
        return self.second_stage or load_settings(overrides=own, presets=PRESETS).training.second_stage

    def run(self, out: Path, seed: int, fold: int | None = None) -> Path:
        """Its run folder for a seed and, in cross-validation, a fold."""
        folder = out / self.folder / f"seed-{seed}"
        return folder if fold is None else folder / f"fold-{fold}"


def make_rows(
    methods: Sequence[str],
    rows: Sequence[str] = (),
    second_stage: Sequence[str] = (),
    config: Path | None = None,
    settings: Sequence[str] = (),
) -> list[Variant]:
    """Rows from what the command line is given.

    Args:
        methods: names of methods, each a row; `:2` after a name adds a second stage.
        rows: see `Variant.parse`.
        second_stage: methods that get one more row, with a second stage; `all` for all of `methods`.
        config: a settings file for all rows.
        settings: for all rows, after the file.

    Raises:
        SettingError: an unknown method or setting, or a row that is none.
    """
    from histoproto.methods.registry import METHODS

    with_second = methods if list(second_stage) == ["all"] else second_stage
    named = [*methods, *(f"{name.removesuffix(SECOND_STAGE)}{SECOND_STAGE}" for name in with_second)]
    file = load_settings(config).model_dump(mode="json", exclude_unset=True) if config else {}
    shared = [*_flat({key: value for key, value in file.items() if key not in OF_A_RUN}), *settings]
    found = [Variant.parse(text, shared) for text in (*dict.fromkeys(named), *rows)]
    if not found:
        raise SettingError("a comparison needs rows: name methods with --methods lpd,cam, or rows with --row")
    for row in found:
        if row.method not in METHODS:
            raise SettingError(f"there is no method {row.method!r}; there are {', '.join(METHODS)}")
        if own := [key for key in OF_A_RUN if any(setting.startswith(f"{key}=") for setting in row.settings)]:
            raise SettingError(f"{own[0]!r} is no setting of a row; a comparison gives each run its method and seed")
        load_settings(overrides=list(row.settings))
    return found


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Nested settings as `group.key=value`."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={json.dumps(value)}"


@dataclass(frozen=True)
class Plan:
    """All rows of a comparison.

    Attributes:
        data: the data folder.
        fingerprints: of its training and test patches: all rows must be about the same.
        variants: the rows, in order; at least one.
        seeds: number of seeds, 0 … seeds − 1.
        reference: the label that the others are compared with.
        folds: of a cross-validation over the groups of the training part, each of which is then tested once; 0: the
            training part is trained on, the test part tested.
    """

    data: Path
    fingerprints: dict[str, str]
    variants: tuple[Variant, ...]
    seeds: int
    reference: str
    folds: int = 0

    @classmethod
    def make(cls, data: Path, variants: Iterable[Variant], seeds: int, reference: str = "lpd", folds: int = 0) -> Plan:
        """A plan for a data folder; without the reference among the rows, the first of them is it.

        Raises:
            DataError: the folder cannot be read, or has no training or test patches.
            SettingError: two rows that cannot be told apart.
        """
        rows = tuple(variants)
        folders = [row.folder for row in rows]
        double = [row.label for row in rows if folders.count(row.folder) > 1]
        if double or not all(folders):
            raise SettingError(f"every row needs a name of its own, found {', '.join(double) or 'an empty one'}")
        folder = open_data(data)
        splits: tuple[Split, ...] = ("train",) if folds else ("train", "test")
        prints: dict[str, str] = {split: fingerprint(folder.split(split)) for split in splits}
        known = reference if reference in [row.label for row in rows] else rows[0].label
        return cls(data, prints, rows, seeds, known, folds)

    def added_to(self, out: Path) -> Plan:
        """This plan with the rows that `out` already compares, which come first and stay as they are.

        Raises:
            RunError: `out` compares other data, or has a row of the same name that is something else.
        """
        if not (out / PLAN_FILE).is_file():
            return self
        former = read_plan(out)
        if former.fingerprints != self.fingerprints:
            raise RunError(
                f"{out} compares methods on other patches ({former.data}) than those of {self.data}; give another --out"
            )
        if former.folds != self.folds:
            raise RunError(f"{out} has {former.folds or 'no'} folds, not {self.folds or 'none'}; give another --out")
        known = {row.label: row for row in former.variants}
        for row in self.variants:
            if known.setdefault(row.label, row) != row:
                raise RunError(
                    f"{out} already holds {row.label!r} as {_describe(known[row.label])}, not as {_describe(row)}; "
                    f"give another --out, or name the new row with --row 'NAME: {row.method} …'"
                )
        return replace(self, variants=tuple(known.values()), seeds=max(self.seeds, former.seeds))

    def write(self, out: Path) -> None:
        """Write `comparison.json`."""
        content = asdict(self) | {"data": str(self.data.resolve())}
        with replace_atomically(out / PLAN_FILE, lasting=True) as temporary:
            temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")


def read_plan(out: Path) -> Plan:
    """The plan of a comparison folder.

    Raises:
        RunError: there is none.
    """
    path = out / PLAN_FILE
    if not path.is_file():
        raise RunError(f"{out} holds no comparison ({PLAN_FILE} is missing); make one with `histoproto compare`")
    plan = read_json_as(path, Plan)
    in_range(plan.seeds, 1, 10_000, f"{path}: the number of seeds")
    return plan


def _describe(row: Variant) -> str:
    return " ".join((row.method + SECOND_STAGE * row.second_stage, *row.settings))
