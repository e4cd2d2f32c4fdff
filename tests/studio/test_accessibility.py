"""Every screen of the studio, light and dark: axe finds nothing serious. The last one shows how people agree."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from browsing import CHROMIUM, FLAGS, IN_A_BROWSER, Studio, violations, wait_until
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.task import SlideTask
from histoproto.studio import learning
from histoproto.studio.project import ProjectSettings
from histoproto.studio.session import Session

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("axe_playwright_python")
pytestmark = IN_A_BROWSER
NAMES = ["tumour", "stroma", "necrosis"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides, labels of two people, some of which contradict each other, and a round of three steps."""
    folder = tmp_path_factory.mktemp("screens")
    slides = []
    for name in ("a.tif", "b.tif"):
        write_phantom_slide(folder / name, width=512, height=384, mpp=1.0, field=128, distinct=4, glass=0.0)
        slides.append(SlideTask(folder / name))
    session = Session(folder / "project", slides, automatic=False)
    session.begin(ProjectSettings.of(NAMES, mpp=1.0, tile=64, doubles=0.2))
    session.wait()
    for number, tile in enumerate(session.next("AB", 40)):
        session.say("AB", tile["tile"], "label", NAMES[: number % 3])
        if number < 10:
            session.say("CD", tile["tile"], "label", NAMES[: number % 2])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(learning, "STEPS", 3)
        learning.learn(session.opened())
    session.end()
    return folder / "project"


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    studio = Studio(project)
    yield studio.wait()
    studio.end(signal.SIGKILL)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_screen_has_a_serious_fault(address: str, project: Path, theme: str) -> None:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme=theme, reduced_motion="reduce")
        page.set_default_timeout(60_000)
        page.goto(address)
        page.wait_for_selector(".guess")
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        found = {"label": violations(page)}
        page.keyboard.press("?")
        page.wait_for_selector("dialog")
        found["keys"] = violations(page)
        page.keyboard.press("Escape")
        page.click("text=Many tiles")
        page.wait_for_selector(".grid img")
        page.keyboard.press("a")
        found["many"] = violations(page)
        for view, ready in VIEWS.items():
            page.click(f"nav a[href='#{view}']")
            page.wait_for_selector(ready)
            found[view] = violations(page)
            if view == "slides":
                box = page.locator(".viewer").bounding_box()
                page.wait_for_timeout(500)
                page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
                page.wait_for_selector(".spot")
                found["spot"] = violations(page)
        people = page.locator(".people")
        assert "AB · CD" in people.inner_text()
        assert people.locator("tbody tr").count() == len(NAMES)
        share = {"light": 0.1, "dark": 0.5}[theme]
        people.locator("select").select_option(str(share))
        state = "async () => (await (await fetch('/api/state')).json()).project.doubles"
        wait_until(page, f"async () => (await ({state})()) === {share}")
        browser.close()
    assert {screen: faults for screen, faults in found.items() if faults} == {}


VIEWS = {
    "slides": ".viewer canvas",
    "contradictions": ".contradictions h2",
    "prototypes": "ul.prototypes",
    "model": ".people table",
}


def test_a_new_project_has_no_serious_fault(project: Path, tmp_path: Path) -> None:
    studio = Studio(tmp_path / "new", str(project.parent / "a.tif"))
    try:
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for theme in ("light", "dark"):
                page = browser.new_page(color_scheme=theme)
                page.goto(studio.address or studio.wait())
                page.wait_for_selector("form")
                assert violations(page) == []
            browser.close()
    finally:
        studio.end(signal.SIGKILL)
