"""A browser looks at a corner of a slide; the map of all of it follows, from a process that ends with the server."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from browsing import CHROMIUM, FLAGS, IN_A_BROWSER, Studio, open_page, wait_until
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.task import SlideTask
from histoproto.studio import learning
from histoproto.studio.adding import add_slides
from histoproto.studio.project import Project, ProjectSettings

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = IN_A_BROWSER
CORNER = "slides/s/100/100/12"
AHEAD = "async () => (await (await fetch('/api/state')).json()).ahead"
ALL = f"async () => {{ const {{ done, of }} = await ({AHEAD})(); return done === of; }}"
CACHED = "async () => (await fetch('/api/map/1/s/8/0_0.png')).headers.get('cache-control')"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a slide of 2×2 blocks and a model that has hardly learnt anything."""
    options = {"width": 2048, "height": 1536, "mpp": 1.0, "field": 256, "distinct": 4, "glass": 0.0}
    write_phantom_slide(tmp_path / "s.tif", **options)
    project = Project.create(tmp_path / "project", ProjectSettings.of(["tumour", "stroma"], mpp=1.0, checks=0.0))
    add_slides(project, [SlideTask(tmp_path / "s.tif")])
    for tile, ticks in zip(project.store.tiles(), [["tumour", "stroma"], ["stroma"], []] * 4, strict=False):
        project.store.say("AB", tile, "label", ticks)
    monkeypatch.setattr(learning, "STEPS", 3)
    assert learning.learn(project) == 1
    project.store.close()
    return project.folder


def test_the_rest_of_the_slide_follows(folder: Path) -> None:
    asked: list[str] = []
    studio = Studio(folder)
    try:
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = look_at_the_corner(browser, studio, asked)
            wait_until(page, ALL, None, 240)
            expected = {"round": 1, "slide": "s", "done": 4, "of": 4, "left": 0, "waits": False, "problem": ""}
            assert page.evaluate(AHEAD) == expected
            wait_until(page, "() => document.querySelector('.follows').textContent === 'map of this slide: complete'")
            assert "immutable" in page.evaluate(CACHED)
            assert page.problems == []
            pieces = folder / "rounds" / "0001" / "pieces" / "maps" / "s"
            blocks = {f"9-{column}-{row}" for column in (0, 1) for row in (0, 1)}
            assert {path.stem for path in pieces.glob("9-?-?.png")} == blocks
            asked = [url for url in asked if "/api/map/1/s/" in url]
            assert asked
            assert not [url for url in asked if "/s/9/1_1.png" in url]  # nobody looked there
            assert studio.end() == 0

            for path in pieces.iterdir():
                path.unlink()
            studio = Studio(folder)
            look_at_the_corner(browser, studio, [])
            server = psutil.Process(studio.process.pid)
            wait(lambda: bool(server.children()))
            children = server.children(recursive=True)
            assert studio.end() == 0
            assert not psutil.wait_procs(children, timeout=10)[1]
            assert not list(pieces.glob("9-1-1.png"))
    finally:
        studio.end(signal.SIGKILL)


def look_at_the_corner(browser: Any, studio: Studio, asked: list[str]) -> Any:
    page = open_page(browser, studio.wait())
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_selector("img.tile")
    page.evaluate("(corner) => { location.hash = corner; }", CORNER)
    page.wait_for_selector(".follows")
    return page


def wait(there: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not there():
        assert time.monotonic() < until
        time.sleep(0.02)
