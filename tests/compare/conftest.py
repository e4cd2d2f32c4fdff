"""What the tests of this room share."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from fabricated import fabricate, random_matrices
from fakes import TISSUES
from histoproto.compare.plan import Plan, Variant
from histoproto.data.images import write_image, write_mask


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two training and two test patches."""
    root = tmp_path / "data"
    for i in range(2):
        image = np.full((64, 64, 3), 40 * i + 90, dtype=np.uint8)
        write_image(root / "train" / f"a{i}+0[110].png", image)
        write_image(root / "test" / "img" / f"r{i}+0.png", image)
        write_mask(root / "test" / "mask" / f"r{i}+0.png", np.full((64, 64), i, dtype=np.uint8), TISSUES)
    TISSUES.write(root / "classes.yaml")
    return root


@pytest.fixture
def comparison(tmp_path: Path, data: Path) -> tuple[Plan, Path]:
    """Three rows; seed 1 of the last is missing."""
    out = tmp_path / "out"
    rows = [Variant.parse(text) for text in ("lpd", "lpd:2", "K=3: lpd model.prototypes=3")]
    plan = Plan.make(data, rows, 2)
    plan.write(out)
    for variant, seed in itertools.product(rows, range(2)):
        if (variant.label, seed) != ("K=3", 1):
            skill = 0.9 if variant.second_stage else 0.5
            measures = {"from": ".", "coverage": 0.25 + seed / 2} if variant.label == "lpd" else None
            matrices = random_matrices(skill, np.random.default_rng(seed))
            fabricate(variant.run(out, seed), matrices, prototypes=measures, peak_memory_mib=2048)
    return plan, out
