"""The example of docs/studio.md, run: a project made, labelled, learnt and mapped without a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from histoproto.data.check import check_data
from histoproto.data.phantom import TISSUES
from histoproto.slides.phantom import write_phantom_slide

PAGE = Path(__file__).parents[2] / "docs" / "studio.md"


@pytest.mark.slow
def test_the_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    slide, mask = tmp_path / "slides" / "s.tif", tmp_path / "mask.tif"
    slide.parent.mkdir()
    write_phantom_slide(slide, mask, width=1024, height=1024, mpp=1.0, field=128, distinct=12, glass=0.0, seed=3)
    truth = tifffile.imread(mask)

    def look(tile: dict[str, Any]) -> list[str]:
        part = truth[int(tile["y"]) :, int(tile["x"]) :][:128, :128]
        shares = np.bincount(part.ravel(), minlength=5)[:4] / part.size
        return [name for name, share in zip(TISSUES.names, shares, strict=True) if share >= 0.05]

    block = re.search(r"## Without the page.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block
    assert set(TISSUES.names) <= set(re.findall(r'"(\w+)"', block[1]))
    names: dict[str, Any] = {"look": look}
    exec(block[1], names)
    assert (tmp_path / "maps" / "s" / "areas.csv").is_file()
    assert check_data(tmp_path / "lung-labels").problems == ()
    assert names["session"].round == 1
    listed = [len(list((tmp_path / "lung-labels" / part).iterdir())) for part in ("tiles", "checks")]
    assert sum(listed) == 40
    assert listed[1] >= 6  # one in five was asked for
    assert not {path.name for path in (tmp_path / "lung-labels" / "tiles").iterdir()} & {
        path.name for path in (tmp_path / "lung-labels" / "checks").iterdir()
    }
