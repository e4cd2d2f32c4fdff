"""What the tests of this room share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histoproto.tissue import TissueSet


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 patches of 32 px: red, green or both halves."""
    root = tmp_path_factory.mktemp("data")
    (root / "train").mkdir()
    TissueSet.of("red", "green").write(root / "classes.yaml")
    rng = np.random.default_rng(0)
    for index in range(32):
        pixels = rng.integers(120, 255, (32, 32, 3), dtype=np.uint8)
        label = ("10", "01", "11")[index % 3]
        pixels[:, :16, 0 if label[0] == "1" else 1] = 60
        pixels[:, 16:, 1 if label[1] == "1" else 0] = 60
        Image.fromarray(pixels).save(root / "train" / f"region{index // 4}+{index}[{label}].png")
    return root
