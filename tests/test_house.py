"""How the house is kept: small files, none in a circle, tests beside what they test."""

from __future__ import annotations

import re
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from histoproto.version import __version__
from places import ROOT, TESTS

SOURCE = ROOT / "src" / "histoproto"
MOST_LINES = 300
ACROSS = {"unlucky", "campaign"}
"""Tests of many rooms at once: what machines and files do to every command."""


@pytest.mark.parametrize("folder", ["src", "benchmarks", "tests"])
def test_no_file_is_long(folder: str) -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in (ROOT / folder).rglob("*.py")}
    assert not {str(path): count for path, count in lines.items() if count > MOST_LINES}


def test_no_two_files_import_each_other() -> None:
    graph = grimp.build_graph("histoproto", exclude_type_checking_imports=True)
    files = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        TopologicalSorter(files).prepare()
    except CycleError as error:
        pytest.fail(f"files that import each other: {' → '.join(error.args[1])}")


def test_tests_lie_where_the_code_lies() -> None:
    """`tests/slides/reading/test_tiff.py` tests something in `src/histoproto/slides/reading/`."""
    for path in TESTS.rglob("test_*.py"):
        room = path.parent.relative_to(TESTS)
        if str(room) in ACROSS:
            continue
        assert (SOURCE / room).is_dir() or (ROOT / room).is_dir(), f"{path}: there is no room {room}"


def test_no_utils() -> None:
    names = {path.stem for path in Path(SOURCE).rglob("*.py")}
    assert not names & {"utils", "util", "helpers", "misc", "common"}


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    released = re.findall(
        r"^## (\d\S+) - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M
    )
    assert released[0][0] == __version__
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
