"""A bundle for a report of a fault: enough to see what went wrong, and nobody's name."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes import tiny_run
from histoproto.cli.app import app
from histoproto.cli.bundle import without_names, write_bundle
from histoproto.errors import OutputError, RunError

TRACE = """Traceback (most recent call last):
  File "/home/jane/.venv/lib/python3.11/site-packages/histoproto/slides/segment.py", line 12, in segment
histoproto.errors.ImageError: the slide /data/Smith_John/17-0042 A.svs cannot be read: D:\\slides\\Doe.ndpi, Roe_1.tif
"""


def test_nothing_in_it_names_anyone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "ward-3")
    monkeypatch.setattr("getpass.getuser", lambda: "jane")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "histoproto-x.txt").write_text(TRACE)
    run = tiny_run(tmp_path / "Smith_run")
    (run / "config.yaml").write_text("method: lpd\nmodel:\n  weights: /data/Smith/w.pth\n")
    (run / "mask.png").write_bytes(b"pixels")
    (tmp_path / "Smith_run.log").write_text("jane@ward-3: reading Smith_2.svs and '/data/Jim Roe/a b.svs'\nloss 0.25\n")
    write_bundle(tmp_path / "bundle.zip", ["fine torch: 2.14"], run)
    with zipfile.ZipFile(tmp_path / "bundle.zip") as file:
        assert set(file.namelist()) == {"doctor.txt", "last-fault.txt", "run/config.yaml", "run/log-0.txt"}
        text = "\n".join(file.read(name).decode() for name in file.namelist())
    for name in ("Smith", "Doe", "Roe", "jane", "ward-3", "0042", "pixels"):
        assert name not in text
    for kept in ("torch: 2.14", "histoproto/slides/segment.py", "line 12", "method: lpd", "loss 0.25", ".svs"):
        assert kept in text


def test_the_same_path_has_the_same_mark() -> None:
    one, other = (without_names(f"/a/b/c.svs {word} /a/b/d.svs").split() for word in ("and", "or"))
    assert one[0] == other[0] != one[2]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = CliRunner().invoke(app, ["doctor", "--bundle", str(tmp_path / "b.zip")], catch_exceptions=False)
    assert "look into it before you send it" in done.output
    with zipfile.ZipFile(tmp_path / "b.zip") as file:
        assert "torch: " in file.read("doctor.txt").decode()
    with pytest.raises(OutputError, match=r"ends in \.zip"):
        write_bundle(tmp_path / "b.txt", [])
    with pytest.raises(RunError, match="no run folder"):
        write_bundle(tmp_path / "b.zip", [], tmp_path / "none")
