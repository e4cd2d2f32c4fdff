"""What docs/extending.md says can be done can be done, in packages as the page has them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from histoproto.config import load_settings
from histoproto.methods.registry import METHODS, PRESETS, build_method
from histoproto.testing import check_encoder, check_method
from places import ROOT

PAGE = ROOT / "docs" / "extending.md"
TEXT = PAGE.read_text(encoding="utf-8")
METHOD, ENCODER, CONTRACT = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
PROJECTS = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's packages, as pip would leave them."""
    root = tmp_path / "packages"
    info = root / "surecam-1.0.dist-info"
    info.mkdir(parents=True)
    lines = []
    for project in PROJECTS:
        for group, entries in project["project"]["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: surecam\nVersion: 1.0\n", encoding="utf-8")
    (root / "surecam.py").write_text(METHOD, encoding="utf-8")
    (root / "strides.py").write_text(ENCODER, encoding="utf-8")
    monkeypatch.syspath_prepend(root)
    return root


def test_the_contract_of_the_page_is_kept(packages: Path, tmp_path: Path) -> None:
    check_method("sure-cam", tmp_path, ["model.encoder=strides"])
    check_encoder("strides")


def test_the_tests_of_the_page_run(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text(CONTRACT, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "test_page.py")]
    path = f"{packages}:{ROOT / 'src'}"
    done = subprocess.run(command, env={"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_the_method_of_the_page_learns(packages: Path) -> None:
    settings = load_settings(
        overrides=["method=sure-cam", "model.weights=null", "model.encoder=strides"], presets=PRESETS
    )
    assert settings.model.pooling == "topk"
    torch.manual_seed(0)
    method = build_method(settings, torch.tensor([0.5, 0.5, 0.3]))
    batch = {
        "image": torch.rand(4, 3, 64, 64),
        "labels": torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]]),
    }
    optimiser = torch.optim.AdamW(method.parameter_groups())
    totals = []
    for _ in range(8):
        losses = method.losses(batch, 0.5)  # type: ignore[arg-type]
        assert set(losses) == {"classification", "entropy", "total"}
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        totals.append(losses["total"].item())
    assert totals[-1] < totals[0]


def test_the_command_line_knows_it(packages: Path) -> None:
    assert "sure-cam" in METHODS
    code = "import sys; sys.argv[1:] = ['doctor']; from histoproto.cli import main; main()"
    path = f"{packages}:{ROOT / 'src'}"
    environment = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert re.search(r"method sure-cam\s+of the package surecam 1.0", done.stdout), done.stdout + done.stderr


def test_every_part_that_the_page_names_is_there() -> None:
    (table,) = re.findall(r"\|---\|---\|---\|\n(.*?)\n\n", TEXT, re.DOTALL)
    names = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    method = build_method(load_settings(overrides=["model.weights=null", "loss.similarity=0"]), torch.ones(2) / 2)
    assert all(hasattr(method, name) for name in names)
    assert {"architecture", "preset", "extras", "prepare"} < set(names)
