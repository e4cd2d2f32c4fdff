"""The notebook runs as it is, from the first cell to the last."""

from __future__ import annotations

from pathlib import Path

import pytest

from places import ROOT

FILE = ROOT / "docs" / "from-slides-to-a-map.ipynb"


def test_it_is_kept_without_outputs() -> None:
    nbformat = pytest.importorskip("nbformat")
    cells = [cell for cell in nbformat.read(FILE, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.mark.slow
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the notebook's own folder
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(FILE, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs}
    (map_,) = (shown for source, shown in outputs.items() if "overview.png" in source)
    assert "image/png" in map_[-1].data
    (right,) = (shown for source, shown in outputs.items() if "right =" in source)
    assert int(right[0].text.split("%")[0]) > 50
