"""The page asks for the µm/px that slides lack, before there is a project and later; they come without a restart."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import tifffile
from PIL import Image

from browsing import CHROMIUM, FLAGS, IN_A_BROWSER, Studio, open_page, violations, wait_until
from histoproto.slides.phantom import write_phantom_slide

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("axe_playwright_python")
pytestmark = IN_A_BROWSER
LISTED = "async () => (await (await fetch('/api/state')).json()).slides.map((one) => `${one.name} ${one.mpp}`).join()"


def test_pictures_are_added_when_a_person_says_their_scale(tmp_path: Path) -> None:
    write_phantom_slide(tmp_path / "a.tif", width=512, height=384, mpp=1.0, field=128, distinct=4, glass=0.0)
    for name in ("b", "c"):
        Image.fromarray(tifffile.imread(tmp_path / "a.tif")[:256, :256]).save(tmp_path / f"{name}.png")
    studio = Studio(tmp_path / "project", *(str(tmp_path / name) for name in ("b.png", "c.png")))
    try:
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = open_page(browser, studio.wait())
            page.get_by_text("No µm/px is known of 2 slides").wait_for()
            assert violations(page) == []
            page.fill("input[type=number]", "1")
            page.get_by_label("µm/px of b").fill("0.5")
            assert "128 µm × 128 µm" in page.inner_text(".each")
            page.click("text=Start")
            page.wait_for_selector("img.tile")  # of the slide whose scale was said
            asked = page.locator(".scales")
            asked.get_by_text("No µm/px is known of c").wait_for()
            assert page.evaluate(LISTED) == "b 0.5"
            assert violations(page) == []
            asked.get_by_label("µm/px of c").fill("99")
            asked.get_by_text("use").click()
            page.get_by_text("µm/px of c must be from 0.01 to 50").wait_for()
            page.problems.clear()  # the console tells of every answer 400
            asked.get_by_text("later").click()
            asked.wait_for(state="detached")
            page.click("nav >> text=Slides")
            asked.get_by_label("µm/px of c").fill("0.25")
            asked.get_by_text("use").click()
            page.locator(".list a", has_text="c").wait_for()
            asked.wait_for(state="detached")
            wait_until(page, f"async () => (await ({LISTED})()) === 'b 0.5,c 0.25'")
            assert page.problems == []
            studio.end()
            again = Studio(tmp_path / "project", str(tmp_path / "b.png"), str(tmp_path / "c.png"))
            try:
                page = open_page(browser, again.wait())
                page.wait_for_selector("img.tile")
                assert page.evaluate(LISTED) == "b 0.5,c 0.25"
                assert page.locator(".scales").count() == 0
            finally:
                again.end(signal.SIGKILL)
            browser.close()
    finally:
        studio.end(signal.SIGKILL)
