"""The documentation as a site: built without a warning, with a page for every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from places import ROOT

pytest.importorskip("material", reason="pip install 'histoproto[docs]'")


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    page = (tmp_path / "site" / "commands" / "data-cut" / "index.html").read_text(encoding="utf-8")
    assert "--min-fraction" in page
    assert "old_out" not in page
    for page_file in (tmp_path / "site").rglob("*.html"):
        fetched = re.findall(
            r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', page_file.read_text(encoding="utf-8")
        )
        assert not fetched, f"{page_file} fetches {fetched}"
