"""The first half hour runs as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile

from histoproto.inference.segmenter import Segmenter
from places import ROOT

TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_first_half_hour(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, rest in (("histoproto", "-m histoproto"), ("python", "")):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {rest} "$@"\n')
        (tools / name).chmod(0o755)
    (script,) = re.findall(r'```python title="label.py"\n(.*?)```', TEXT, re.DOTALL)
    (tmp_path / "label.py").write_text(script, encoding="utf-8")
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        ["bash", "-euxc", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no problems found" in done.stdout
    for file in re.findall(r"`((?:run|maps)/[\w./]+)`", TEXT):
        assert (tmp_path / file).is_file(), f"the page promises {file}"
    assert tifffile.imread(tmp_path / "maps" / "c" / "tissue.ome.tif").ndim == 2
    assert Segmenter.load(tmp_path / "model.zip", "cpu").tissues.names[0] == "tumour"
