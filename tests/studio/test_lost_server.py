"""A server that is killed and started anew while somebody labels: what was not saved is said, and saved afterwards."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from browsing import CHROMIUM, FLAGS, IN_A_BROWSER, Studio, wait_until
from histoproto.slides.phantom import write_phantom_slide
from histoproto.studio.project import Project

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = IN_A_BROWSER
ALERT = "() => document.querySelector('[role=alert]')?.textContent || ''"


def test_labels_wait_for_the_server(tmp_path: Path) -> None:
    write_phantom_slide(tmp_path / "a.tif", width=512, height=384, mpp=1.0, field=128, distinct=4, glass=0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    studio = Studio(tmp_path / "project", str(tmp_path / "a.tif"), "--port", port)
    try:
        with playwright.sync_playwright() as started:
            context = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS).new_context()
            page = context.new_page()
            page.goto(studio.wait())
            page.fill("input[type=number]", "1")
            page.click("text=Start")
            page.wait_for_selector("img.tile")
            first = int(page.get_attribute("img.tile", "data-tile"))
            page.keyboard.press("1")
            page.wait_for_selector(".saved >> text=saved: tumour")
            assert studio.end(signal.SIGKILL) == -signal.SIGKILL
            page.keyboard.press("Enter")
            second = int(page.get_attribute("img.tile", "data-tile"))
            page.keyboard.press("2")
            wait_until(page, f"() => ({ALERT})().includes('1 label waits to be saved')")
            assert page.inner_text(".saved") == "saving …"

            studio = Studio(tmp_path / "project", "--port", port)
            address = studio.wait()
            wait_until(page, f"() => ({ALERT})().includes('was started anew')")
            context.new_page().goto(address)  # what the sentence asks for
            page.wait_for_selector(".saved >> text=saved: stroma")
            wait_until(page, f"() => ({ALERT})() === ''")
            project = Project.open(tmp_path / "project")
            said = {tile: label.ticks for tile, label in project.store.labels().items()}
            project.store.close()
            assert said == {first: ("tumour",), second: ("stroma",)}
    finally:
        studio.end(signal.SIGKILL)
