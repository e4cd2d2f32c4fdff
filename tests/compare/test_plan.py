"""Rows of a comparison: read, added, never changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from histoproto.compare.plan import Plan, Variant, make_rows, read_plan
from histoproto.config import load_settings
from histoproto.data.images import write_image
from histoproto.errors import HistoProtoError, RunError, SettingError


def test_rows_are_read_as_people_write_them(tmp_path: Path) -> None:
    config = tmp_path / "all.yaml"
    config.write_text("method: cam\nseed: 7\nmodel: {prototypes: 5}\ntraining: {epochs: 2}\n")
    rows = make_rows(["lpd"], ["no div: lpd:2 loss.diversity=0"], ["all"], config, ["training.epochs=3"])
    shared = ("model.prototypes=5", "training.epochs=2", "training.epochs=3")
    assert rows == [
        Variant("lpd", "lpd", False, shared),
        Variant("lpd:2", "lpd", True, shared),
        Variant("no div", "lpd", True, (*shared, "loss.diversity=0")),
    ]
    assert load_settings(overrides=list(rows[0].settings)).training.epochs == 3
    assert [row.folder for row in rows] == ["lpd", "lpd-2", "no-div"]
    for wrong in (["lpd model.prototypes=3"], ["a: lpd quickly"], [": lpd"]):
        with pytest.raises(SettingError):
            Plan.make(tmp_path, make_rows([], wrong), 1)
    with pytest.raises(SettingError, match=r"no method 'nosuch'; there are .*lpd"):
        make_rows(["nosuch"])
    with pytest.raises(SettingError, match="needs rows"):
        make_rows([])
    with pytest.raises(SettingError, match="'seed' is no setting of a row"):
        make_rows(["lpd"], settings=["seed=3"])
    with pytest.raises(SettingError, match=r"no setting 'model.prototype'"):
        make_rows([], ["a: lpd model.prototype=3"])


def test_rows_can_be_added_but_not_changed(tmp_path: Path, comparison: tuple[Plan, Path], data: Path) -> None:
    plan, out = comparison
    assert read_plan(out) == replace(plan, data=plan.data.resolve())
    more = Plan.make(data, [Variant.parse("K=5: lpd model.prototypes=5")], 1).added_to(out)
    assert [row.label for row in more.variants] == ["lpd", "lpd:2", "K=3", "K=5"]
    assert (more.seeds, more.reference) == (2, "K=5")
    with pytest.raises(RunError, match=r"already holds 'K=3' as lpd model.prototypes=3, not as lpd model.prototypes=4"):
        Plan.make(data, [Variant.parse("K=3: lpd model.prototypes=4")], 1).added_to(out)
    write_image(data / "train" / "a2+0[010].png", np.zeros((64, 64, 3), dtype=np.uint8))
    with pytest.raises(RunError, match="on other patches"):
        Plan.make(data, plan.variants, 1).added_to(out)
    with pytest.raises(RunError, match="holds no comparison"):
        read_plan(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("seeds", 10**30, "number of seeds"),
        ("seeds", 0, "number of seeds"),
        ("seeds", "many", "seeds: .* valid integer"),
        ("variants", {}, "variants: .* found {}"),
        ("data", 5, r"data: .* found 5"),
        ("variants", None, "variants is missing"),
    ],
)
def test_a_plan_of_wrong_values_is_refused(
    tmp_path: Path, comparison: tuple[Plan, Path], key: str, value: object, why: str
) -> None:
    comparison[0].write(tmp_path)
    content = json.loads((tmp_path / "comparison.json").read_text())
    content[key] = value
    if value is None:
        del content[key]
    (tmp_path / "comparison.json").write_text(json.dumps(content))
    with pytest.raises(HistoProtoError, match=rf"comparison\.json.*{why}"):
        read_plan(tmp_path)
