"""The first tile is on the page before any has been looked at, although there was none when it was asked for first."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from browsing import CHROMIUM, FLAGS, IN_A_BROWSER, Studio, wait_until
from histoproto.slides.phantom import write_phantom_slide

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = IN_A_BROWSER
EARLY = 3
"""Times that there is no tile yet."""


def test_the_first_tile_waits_for_no_features(tmp_path: Path) -> None:
    write_phantom_slide(tmp_path / "a.tif", width=512, height=384, mpp=1.0, field=128, distinct=4, glass=0.0)
    studio, asked = Studio(tmp_path / "project", str(tmp_path / "a.tif")), []

    def state(route: Any) -> None:  # as if the slide were looked at for ever, and no tile yet
        found = route.fetch().json()
        if found["project"]:
            found |= {"busy": "looking for tissue on a", "looking": {"done": 0, "of": 0, "working": True}}
        route.fulfill(body=json.dumps(found), content_type="application/json")

    def following(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) > EARLY:
            route.continue_()
        else:
            route.fulfill(body="[]", content_type="application/json")

    try:
        with playwright.sync_playwright() as started:
            page = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS).new_page()
            page.problems = []
            page.route("**/api/state", state)
            page.route("**/api/next?*", following)
            page.goto(studio.wait())
            page.fill("input[type=number]", "1")
            page.click("text=Start")
            wait_until(page, "() => document.querySelector('img.tile')?.complete === true", seconds=60)
            assert len(asked) > EARLY
    finally:
        studio.end(signal.SIGKILL)
