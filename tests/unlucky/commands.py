"""The command line in a process of its own, on very small data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

import forks
from forks import Forked, histoproto
from histoproto.tissue import TissueSet

SETTINGS = [
    *("model.encoder=test_efficientnet", "model.weights=null", "model.prototypes=3", "training.epochs=3"),
    *("training.batch_size=4", "training.checkpoint_every=1", "data.workers=0", "loss.warmup=0.2"),
]
TRAIN = [part for setting in SETTINGS for part in ("--set", setting)]


def start(*arguments: object) -> Forked:
    """`histoproto ARGUMENTS`, as a process."""
    return forks.start(histoproto, *arguments, environment={"HF_HUB_OFFLINE": "1"})


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and all that was printed."""
    process = start(*arguments)
    out, err = process.communicate(timeout=600)
    return process.returncode or 0, out + err


def draw_data(root: Path, patches: int = 24) -> Path:
    """Patches of 32 px, red, green or both, and a few with masks to test on."""
    (root / "train").mkdir(parents=True)
    TissueSet.of("red", "green").write(root / "classes.yaml")
    rng = np.random.default_rng(0)
    for index in range(patches):
        label = ("10", "01", "11")[index % 3]
        pixels = rng.integers(120, 255, (32, 32, 3), dtype=np.uint8)
        pixels[:, :16, 0 if label[0] == "1" else 1] = 60
        pixels[:, 16:, 1 if label[1] == "1" else 0] = 60
        Image.fromarray(pixels).save(root / "train" / f"region{index // 4}+{index}[{label}].png")
        if index < 3:
            other = pixels ^ 1  # like a training patch, but none
            for part, content in (("img", other), ("mask", np.full((32, 32), index % 2, np.uint8))):
                (root / "test" / part).mkdir(parents=True, exist_ok=True)
                Image.fromarray(content).save(root / "test" / part / f"slide{index}+0.png")
    return root


def assert_same_run(found: Path, expected: Path) -> None:
    """Weights, history and card to the last bit."""
    one, other = (load_file(run / "model.safetensors") for run in (found, expected))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    for name in ("history.csv", "model.json"):
        assert (found / name).read_text() == (expected / name).read_text(), name


def assert_one_sentence(code: int, printed: str, said: str) -> None:
    """A user's mistake, or the machine's: exit code 2, no traceback."""
    assert code == 2, (code, printed)
    assert "Traceback" not in printed
    assert said in printed, printed
