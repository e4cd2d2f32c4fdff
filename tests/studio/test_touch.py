"""Finger, pen and mouse on the page: a tap picks, a drag moves or paints; a command is copied anywhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from browsing import CHROMIUM, FLAGS, IN_A_BROWSER, Studio, wait_until
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.task import SlideTask
from histoproto.studio.project import ProjectSettings
from histoproto.studio.session import Session

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = IN_A_BROWSER
NAMES = ["tumour", "stroma", "necrosis"]
MANY = 10
Place = tuple[float, float]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("touch")
    write_phantom_slide(folder / "a.tif", width=1024, height=768, mpp=1.0, field=128, distinct=4, glass=0.0)
    session = Session(folder / "project", [SlideTask(folder / "a.tif")], automatic=False)
    session.begin(ProjectSettings.of(NAMES, mpp=1.0, tile=64))
    session.wait()
    for number, tile in enumerate(session.next("AB", 12)):
        session.say("AB", tile["tile"], "label", NAMES[: number % 3])
    session.end()
    studio = Studio(folder / "project")
    yield studio.wait()
    studio.end(signal.SIGKILL)


@pytest.fixture
def hand(address: str) -> Iterator[Hand]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield Hand(browser.new_context(has_touch=True, viewport={"width": 1024, "height": 600}), address)
        browser.close()


class Hand:
    """A page, and what a hand does on it."""

    def __init__(self, context: Any, address: str):
        self.page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.problems = []
        self.page.on("pageerror", lambda error: self.page.problems.append(str(error)))
        self.protocol = context.new_cdp_session(self.page)
        self.address = address

    def open(self, view: str, ready: str) -> None:
        self.page.goto(self.address)
        self.page.wait_for_selector("nav")
        self.page.evaluate("(view) => { location.hash = view; }", view)
        self.page.wait_for_selector(ready)

    def tap(self, at: Place) -> None:
        self.page.touchscreen.tap(*at)

    def touch(self, kind: str, *fingers: Place) -> None:
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(fingers)]
        self.protocol.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def finger(self, start: Place, end: Place) -> None:
        self.touch("touchStart", start)
        for place in way(start, end):
            self.touch("touchMove", place)
            self.page.wait_for_timeout(16)
        self.touch("touchEnd")

    def pen(self, start: Place, end: Place, kind: str = "pen") -> None:
        places = [("mouseMoved", start, 0), ("mousePressed", start, 1)]
        places += [("mouseMoved", place, 1) for place in way(start, end) if end != start]
        for what, (x, y), buttons in [*places, ("mouseReleased", end, 0)]:
            event = {"type": what, "x": x, "y": y, "buttons": buttons, "pointerType": kind, "clickCount": 1}
            button = "none" if what == "mouseMoved" and not buttons else "left"
            self.protocol.send("Input.dispatchMouseEvent", {**event, "button": button})
            self.page.wait_for_timeout(16)

    def mouse(self, start: Place, end: Place) -> None:
        self.pen(start, end, "mouse")


def way(start: Place, end: Place, steps: int = 10) -> list[Place]:
    return [
        (start[0] + (end[0] - start[0]) * step / steps, start[1] + (end[1] - start[1]) * step / steps)
        for step in range(1, steps + 1)
    ]


def middle(found: Any) -> Place:
    found.scroll_into_view_if_needed()
    box = found.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


PRESSED = """(among) => [...document.querySelectorAll(among)].flatMap(
    (one, index) => one.getAttribute('aria-pressed') === 'true' ? [index] : [])"""


def pressed(page: Any, among: str) -> list[int]:
    """Which of these buttons are on, once the page has had time to answer."""
    page.wait_for_timeout(400)
    return list(page.evaluate(PRESSED, among))


def test_a_tap_ticks_a_tissue_and_a_drag_over_it_does_not(hand: Hand) -> None:
    hand.open("label", ".one .chip")
    chips = hand.page.locator(".one .chip")
    hand.tap(middle(chips.nth(0)))
    assert pressed(hand.page, ".one .chip") == [0]
    assert hand.page.inner_text(".saved") == "saved: tumour"
    for right, down in ((0, -150), (-150, 0), (30, 0)):
        x, y = middle(chips.nth(1))
        hand.finger((x, y), (x + right, y + down))
        assert pressed(hand.page, ".one .chip") == [0]
    x, y = middle(chips.nth(1))
    hand.pen((x, y), (x - 400, y))
    assert pressed(hand.page, ".one .chip") == [0]
    hand.pen((x, y), (x, y))
    assert pressed(hand.page, ".one .chip") == [0, 1]
    hand.tap(middle(hand.page.locator("text=undo")))
    assert pressed(hand.page, ".one .chip") == [0]
    assert hand.page.problems == []


CENTRE = (
    "() => { const at = studioViewer.viewport.getCenter(true); return [at.x, at.y, studioViewer.viewport.getZoom()]; }"
)


def test_a_tap_on_the_slide_picks_its_tile_and_drags_and_pinches_move_it(hand: Hand) -> None:
    hand.open("slides", ".viewer canvas")
    page = hand.page
    wait_until(page, "() => window.studioViewer?.isOpen()")
    page.wait_for_timeout(800)  # until it stands still
    before, place = page.evaluate(CENTRE), middle(page.locator(".viewer"))
    hand.tap(place)
    page.wait_for_selector(".spot")
    page.wait_for_timeout(800)
    assert page.evaluate(CENTRE) == before  # a tap does not zoom
    hand.tap(middle(page.locator(".spot .chip").nth(2)))
    assert pressed(page, ".spot .chip") == [2]
    page.keyboard.press("Escape")
    page.wait_for_selector(".spot", state="detached")
    for move in (hand.finger, hand.pen, hand.mouse):
        move(place, (place[0] - 100, place[1] - 60))
        page.wait_for_timeout(800)
        after = page.evaluate(CENTRE)
        assert after[0] > before[0]
        assert after[1] > before[1]
        assert page.locator(".spot").count() == 0
        before = after
    hand.touch("touchStart", (place[0] - 30, place[1]), (place[0] + 30, place[1]))
    for step in range(1, 10):
        hand.touch("touchMove", (place[0] - 30 - 8 * step, place[1]), (place[0] + 30 + 8 * step, place[1]))
        page.wait_for_timeout(16)
    hand.touch("touchEnd")
    page.wait_for_timeout(800)
    assert page.evaluate(CENTRE)[2] > 1.5 * before[2]
    assert page.locator(".spot").count() == 0
    assert page.problems == []


@pytest.mark.parametrize("how", ["finger", "pen", "mouse"])
def test_a_drag_over_many_tiles_paints_and_one_that_scrolls_does_not(hand: Hand, how: str) -> None:
    hand.open("label", ".one .chip")
    page = hand.page
    page.click("text=Many tiles")
    page.wait_for_selector(".grid img")
    cells = page.locator(".grid .cell")
    while cells.count() < MANY:  # a random check stands alone
        page.click("text=other tiles")
        page.wait_for_timeout(500)
    drag = getattr(hand, how)
    drag(middle(cells.nth(1)), middle(cells.nth(3)))
    assert pressed(page, ".grid .cell") == [1, 2, 3]
    drag(middle(cells.nth(3)), middle(cells.nth(2)))  # begun on one that is chosen, it takes away
    assert pressed(page, ".grid .cell") == [1]
    page.mouse.move(*middle(cells.nth(5)))  # nothing is held any more
    assert pressed(page, ".grid .cell") == [1]
    if how == "finger":
        hand.tap(middle(cells.nth(5)))
        assert pressed(page, ".grid .cell") == [1, 5]
        x, y = middle(cells.nth(9))
        hand.finger((x, y), (x, y - 180))
        assert pressed(page, ".grid .cell") == [1, 5]
        assert page.evaluate("document.querySelector('main').scrollTop") > 50
    cells.nth(0).focus()
    page.keyboard.press("Space")
    assert 0 in pressed(page, ".grid .cell")
    assert page.problems == []


REFUSED = "navigator.clipboard.writeText = () => Promise.reject(new DOMException('not allowed', 'NotAllowedError'));"
ABSENT = "Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined });"
OLD_WAY_REFUSED = "document.execCommand = () => false;"


@pytest.mark.parametrize(
    ("script", "words"),
    [(REFUSED, "copied"), (ABSENT, "copied"), (ABSENT + OLD_WAY_REFUSED, "selected: press Ctrl C")],
)
def test_a_command_is_copied_where_the_clipboard_is_refused(hand: Hand, script: str, words: str) -> None:
    page = hand.page
    page.add_init_script(script)
    hand.open("model", ".command")
    line = page.locator(".command", has_text="histoproto data export").last
    page.evaluate("addEventListener('copy', () => { window.copied = getSelection().toString(); })")
    hand.tap(middle(line.locator("button")))
    line.locator("[role=status]", has_text=words).wait_for()
    text = line.locator("code").inner_text()
    assert text.startswith("histoproto data export ")
    if words != "copied":
        assert page.evaluate("window.copied") is None
        page.keyboard.press("Control+c")  # as the page says
    assert page.evaluate("window.copied") == text
