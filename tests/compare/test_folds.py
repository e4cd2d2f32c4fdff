"""Cross-validation in a comparison: tasks, and folds brought together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fabricated import fabricate, random_matrices
from fakes import TISSUES
from histoproto.compare.folds import fold_data, read_results, write_folds
from histoproto.compare.plan import Plan, Variant, read_plan
from histoproto.compare.runner import plan_tasks
from histoproto.compare.table import compare, markdown
from histoproto.data.images import write_image, write_mask
from histoproto.data.layouts import open_data
from histoproto.errors import RunError
from histoproto.evaluation.confusion import scores


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    root = tmp_path / "masked"
    for g in range(4):
        name = f"r{g}+0[110].png"
        write_image(root / "train" / "img" / name, np.full((64, 64, 3), 40 * g + 90, dtype=np.uint8))
        write_mask(root / "train" / "mask" / name, np.full((64, 64), g % 2, dtype=np.uint8), TISSUES)
    TISSUES.write(root / "classes.yaml")
    return root


def test_folds_are_run_and_scored_as_one(masked: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = [Variant.parse(text) for text in ("lpd", "lpd:2")]
    plan = Plan.make(masked, rows, 2, folds=2)
    plan.write(out)
    assert read_plan(out) == Plan.make(masked.resolve(), rows, 2, folds=2)
    write_folds(plan, out)
    tested = [p.group for fold in range(2) for p in open_data(fold_data(out, fold)).test]
    assert sorted(tested) == ["r0", "r1", "r2", "r3"]
    tasks = plan_tasks(plan, out)
    assert len(tasks) == len({task.run for task in tasks}) == 8
    assert all(task.data == fold_data(out, task.fold or 0) for task in tasks)
    second = next(task for task in tasks if task.variant.second_stage and (task.seed, task.fold) == (1, 0))
    assert second.first == rows[0].run(out, 1, 0)

    matrices = {}
    for number, task in enumerate(tasks):
        own = dict(list(random_matrices(0.7, np.random.default_rng(number)).items())[:3])
        own = {f"{name}-{task.fold}": matrix for name, matrix in own.items()}
        matrices[task.run] = own
        if task is not tasks[-1]:
            fabricate(task.run, own)
    results = read_results(plan, out)
    assert [(r.variant.label, r.seed) for r in results] == [("lpd", 0), ("lpd", 1), ("lpd:2", 0)]
    both = {**matrices[rows[0].run(out, 1, 0)], **matrices[rows[0].run(out, 1, 1)]}
    assert results[1].regions.keys() == both.keys()
    assert results[1].values["miou"] == pytest.approx(scores(np.sum(list(both.values()), axis=0), "ignored").miou)
    found = compare(plan, out)
    assert found.differences[0].regions == 6
    assert "2 folds, 6 groups, each tested once" in markdown(found)
    with pytest.raises(RunError, match="2 folds, not none"):
        replace(plan, folds=0).added_to(out)
