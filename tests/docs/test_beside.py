"""What can be checked of what runs elsewhere: the container's recipe and the script for QuPath."""

from __future__ import annotations

import re

from places import ROOT


def test_the_container_copies_what_the_wheel_needs() -> None:
    recipe = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }
    copied = {name for line in re.findall(r"^COPY (?!--from)(.+)$", recipe, re.M) for name in line.split()[:-1]}
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in re.findall(r'^(?:readme|license-files) = \[?"(\w+\.?\w*)"', project, re.M):
        assert name in copied
    if "[tool.hatch.build.hooks.custom]" in project:
        assert "hatch_build.py" in copied, "hatchling runs it while it builds the wheel"
    for extra in re.findall(r"\[([\w,]+)\]\"", recipe):
        assert all(re.search(rf"^{name} = \[", project, re.M) for name in extra.split(","))
    assert "USER user" in recipe


def test_the_script_for_qupath_reads_what_segment_writes() -> None:
    script = (ROOT / "docs" / "qupath" / "import_results.groovy").read_text(encoding="utf-8")
    written = (ROOT / "src" / "histoproto" / "slides" / "segment.py").read_text(encoding="utf-8")
    for name in ("tissue.geojson", "tissue.geojson.gz"):
        assert f'"{name}"' in script
        assert f'"{name}"' in written
    code = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:[^\"\\]|\\.)*\"|/\\[^/\n]*/", "", script, flags=re.DOTALL)
    for opening, closing in ("()", "{}", "[]"):
        assert code.count(opening) == code.count(closing)
