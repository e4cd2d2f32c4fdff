"""What the tests of this room share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histoproto.tissue import TissueSet


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 patches of 32 px, red, green or both halves, with masks of the training patches."""
    root = tmp_path_factory.mktemp("data")
    (root / "train" / "mask").mkdir(parents=True)
    TissueSet.of("red", "green").write(root / "classes.yaml")
    rng = np.random.default_rng(0)
    for index in range(24):
        label = ("10", "01", "11")[index % 3]
        mask = np.zeros((32, 32), dtype=np.uint8)
        mask[:, :16], mask[:, 16:] = label[0] == "0", label[1] == "1"
        pixels = rng.integers(120, 255, (32, 32, 3), dtype=np.uint8)
        pixels[mask == 0, 0] = 60
        pixels[mask == 1, 1] = 60
        name = f"region{index // 4}+{index}[{label}].png"
        Image.fromarray(pixels).save(root / "train" / name)
        Image.fromarray(mask).save(root / "train" / "mask" / name)
    return root
