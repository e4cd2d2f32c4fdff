"""What docs/extending.md says can be done can be done."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from histoproto.config import load_settings
from histoproto.methods.registry import METHODS, build_method
from places import ROOT

PAGE = ROOT / "docs" / "extending.md"


def test_the_method_of_the_page_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "histoproto.methods.sure_cam"}
    exec(compile(code, str(PAGE), "exec"), names)
    own = names["SureCAM"]
    monkeypatch.setitem(METHODS, "sure-cam", own)
    settings = load_settings(
        overrides=["method=sure-cam", "model.weights=null", "model.encoder=mobilenetv3_small_050"],
        presets={"sure-cam": own.preset},
    )
    assert settings.model.pooling == "topk"
    torch.manual_seed(0)
    method = build_method(settings, torch.tensor([0.5, 0.5, 0.3]))
    batch: Any = {
        "image": torch.rand(4, 3, 64, 64),
        "labels": torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]]),
    }
    optimiser = torch.optim.AdamW(method.parameter_groups())
    totals = []
    for _ in range(8):
        losses = method.losses(batch, 0.5)
        assert set(losses) == {"classification", "entropy", "total"}
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        totals.append(losses["total"].item())
    assert totals[-1] < totals[0]


def test_every_part_that_the_page_names_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (table,) = re.findall(r"\|---\|---\|---\|\n(.*?)\n\n", text, re.DOTALL)
    names = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    method = build_method(load_settings(overrides=["model.weights=null", "loss.similarity=0"]), torch.ones(2) / 2)
    assert all(hasattr(method, name) for name in names)
    assert {"architecture", "preset", "extras", "prepare"} < set(names)
