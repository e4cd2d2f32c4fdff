"""What the tests of reports share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakes import TISSUES, ColourNetwork, colour_card
from histoproto.data.images import write_image, write_mask
from histoproto.inference.segmenter import Segmenter
from histoproto.report import prototype_page
from report.coloured import SIZE, paint


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve test patches of two tissues each: the left part of one, the rest of another; one is mislabelled."""
    root = tmp_path / "data"
    TISSUES.write(root.mkdir() or root / "classes.yaml")
    for i in range(12):
        labels = np.full((SIZE, SIZE), i % 3, dtype=np.uint8)
        labels[:, 16 * (1 + i // 4) :] = (i + 1) % 3
        write_image(root / "test" / "img" / f"slide{i}+0.png", paint(labels))
        truth = np.full_like(labels, (i + 2) % 3) if i == 5 else labels
        write_mask(root / "test" / "mask" / f"slide{i}+0.png", truth, TISSUES)
    return root


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder whose model finds pure colours."""
    card, network = colour_card(SIZE), ColourNetwork()
    folder = tmp_path / "my <run>"
    folder.mkdir()
    (folder / "model.json").write_text(card.model_dump_json())
    monkeypatch.setattr(Segmenter, "load", classmethod(lambda cls, run, device="cpu": cls(network, card, device)))
    monkeypatch.setattr(prototype_page, "load_model", lambda run: (network, card))
    return folder
