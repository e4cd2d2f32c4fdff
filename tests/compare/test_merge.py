"""Several data sets, and their average."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fabricated import fabricate, random_matrices
from histoproto.compare.folds import read_results
from histoproto.compare.merge import merge, merged_markdown
from histoproto.compare.plan import Plan, Variant
from histoproto.compare.table import compare
from histoproto.errors import RunError


def test_data_sets_are_averaged_seed_by_seed(comparison: tuple[Plan, Path], tmp_path: Path, data: Path) -> None:
    plan, out = comparison
    other = tmp_path / "other"
    rows = [Variant.parse(text) for text in ("K=3: lpd model.prototypes=3", "lpd", "cam: lpd", "lpd:2")]
    rng = np.random.default_rng(5)
    second = Plan.make(data, rows, 2)
    second.write(other)
    for variant in rows:
        for seed in (1, 0):
            fabricate(variant.run(other, seed), random_matrices(0.7, rng))
    merged = merge([out, other])
    assert merged.labels == ("lpd", "lpd:2", "K=3")
    values = [
        [r.values["miou"] for r in read_results(p, o) if r.variant.label == "lpd:2"]
        for p, o in ((plan, out), (second, other))
    ]
    average = 100 * np.mean(values, axis=0)
    first, other_cell, both = merged.scores["lpd:2"]
    assert first.mean == pytest.approx(100 * np.mean(values[0]))
    assert other_cell.spread == pytest.approx(100 * np.std(values[1], ddof=1))
    assert (both.mean, both.spread) == pytest.approx((average.mean(), average.std(ddof=1)))
    assert np.isnan(merged.scores["K=3"][2].spread)  # one common seed
    difference = merged.differences[0]
    singles = [
        next(d for d in compare(p, o).differences if d.label == "lpd:2")
        for p, o in ((plan, out), (replace(second, reference="lpd"), other))
    ]
    assert difference.estimate == pytest.approx(np.mean([one.estimate for one in singles]))
    assert difference.draws.mean() == pytest.approx(np.mean([one.draws.mean() for one in singles]))
    # Independent draws: variances of the data sets add up.
    expected = np.sum([one.draws.var() for one in singles]) / 4
    assert difference.draws.var() == pytest.approx(expected, rel=0.15)
    text = merged_markdown(merged)
    assert f"| lpd:2 | {first} | {other_cell} | {both} |" in text
    assert "data: 1 of 6 runs are not finished" in text
    Plan.make(data, [Variant.parse("alone: lpd")], 1).write(tmp_path / "alone")
    with pytest.raises(RunError, match="no row with finished runs in all of"):
        merge([out, tmp_path / "alone"])
