"""A real browser drives the whole loop: a new project, labels by keys, a model, its map, a correction, the results."""

from __future__ import annotations

import re
import signal
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from browsing import CHROMIUM, FLAGS, IN_A_BROWSER, Studio, open_page, wait_until
from histoproto.data.phantom import TISSUES
from histoproto.slides.phantom import write_phantom_slide
from histoproto.studio.project import Project
from histoproto.studio.rounds import read_guesses

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = IN_A_BROWSER
TILE = 128


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("browser")
    options = {"width": 2048, "height": 1536, "mpp": 1.0, "field": 512, "distinct": 8, "glass": 0.0, "seed": 5}
    write_phantom_slide(folder / "phantom.tif", folder / "mask.tif", **options)
    return folder / "phantom.tif", tifffile.imread(folder / "mask.tif")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


SAVED_TILE = """(tile) => {
    const said = document.querySelector('.saved');
    return said?.dataset.tile === String(tile) && said.textContent.startsWith('saved');
}"""
SAVED = "() => document.querySelector('.saved')?.textContent"


def truth(project: Project, tile: int, mask: np.ndarray) -> list[int]:
    """Which tissues cover 5 % of a tile."""
    found = project.store.tile(tile)
    part = mask[round(found.y) : round(found.y) + TILE, round(found.x) : round(found.x) + TILE]
    return [index for index in range(len(TISSUES)) if (part == index).mean() >= 0.05]


def said(project: Project) -> int:
    """Tiles with a label; one that was passed over has none."""
    return sum(label.verdict == "label" for label in project.store.labels().values())


def label(page: Any, project: Project, mask: np.ndarray, count: int) -> list[float]:
    """Label tiles by keys from the exact mask; seconds from the last key of a tile to the next tile on the screen."""
    seconds = []
    for _ in range(count):
        tile = int(page.get_attribute("img.tile", "data-tile"))
        marks = truth(project, tile, mask)
        for index in marks:
            page.keyboard.press(str(index + 1))
        if not marks:
            page.keyboard.press("0")
        wait_until(page, SAVED_TILE, tile)
        started = time.perf_counter()
        page.keyboard.press("Enter")
        wait_until(page, "(tile) => document.querySelector('img.tile')?.dataset.tile !== String(tile)", tile)
        seconds.append(time.perf_counter() - started)
    return seconds


def wait_for_round(page: Any, number: int) -> None:
    wanted = "async (number) => (await (await fetch('/api/state')).json()).round >= number"
    wait_until(page, wanted, number, 240)


CANVAS = """([left, top, width, height]) => {
    const { canvas } = studioViewer.drawer;
    const scale = canvas.width / studioViewer.container.clientWidth;
    const box = [left, top, width || canvas.width / scale, height || canvas.height / scale];
    return Array.from(canvas.getContext('2d').getImageData(...box.map((side) => Math.round(side * scale))).data);
}"""
"""Pixels of a box of the viewer."""


def wait_for_map(page: Any, round: int) -> None:
    wait_until(
        page,
        """(round) => window.studioViewer?.world.getItemCount() === 2
        && studioViewer.world.getItemAt(1).source.getTileUrl(8, 0, 0).match(/map.(\\d+)/)[1] >= round
        && studioViewer.world.getItemAt(1).getFullyLoaded()""",
        round,
        seconds=120,
    )
    page.wait_for_timeout(300)


def pixels_of(page: Any, box: tuple[float, float, float, float] = (0, 0, 0, 0)) -> np.ndarray:
    return np.array(page.evaluate(CANVAS, list(box)), np.int64).reshape(-1, 4)[:, :3]


def map_is_shown(page: Any) -> bool:
    """Whether the colour of any tissue tints the canvas: the same place with and without the map differs."""
    with_map = pixels_of(page)
    page.keyboard.down("m")
    page.wait_for_timeout(500)
    without = pixels_of(page)
    page.keyboard.up("m")
    page.wait_for_timeout(500)
    return bool((np.abs(with_map - without).max(axis=1) > 20).mean() > 0.05)


def box_of(page: Any, tile: Any) -> tuple[float, float, float, float]:
    """Where a tile is in the viewer: left, top, width, height in its pixels."""
    corner = """([x, y]) => { const at = studioViewer.world.getItemAt(0).imageToViewerElementCoordinates(
        new OpenSeadragon.Point(x, y)); return [at.x, at.y]; }"""
    left, top = page.evaluate(corner, [tile.x, tile.y])
    right, bottom = page.evaluate(corner, [tile.x + tile.side, tile.y + tile.side])
    return left, top, right - left, bottom - top


def most_wrong(project: Project, round: int, mask: np.ndarray) -> int:
    """The open tile, not of the random share, about which a round errs most."""
    tiles, labels = project.store.tiles(), project.store.labels()
    errors = {
        tile: float(np.abs(chances - marks_of(project, tile, mask)).max())
        for tile, chances in read_guesses(project, round).items()
        if tile not in labels and not tiles[tile].checks
    }
    return max(errors, key=lambda tile: errors[tile])


def marks_of(project: Project, tile: int, mask: np.ndarray) -> np.ndarray:
    return np.isin(np.arange(len(TISSUES)), truth(project, tile, mask)).astype(float)


def round_of(page: Any) -> int:
    return int(page.evaluate("async () => (await (await fetch('/api/state')).json()).round"))


def learn(page: Any) -> int:
    """A new round by the button; its number. One that was under way is awaited first."""
    idle = "async () => !(await (await fetch('/api/state')).json()).learning.working"
    wait_until(page, idle, seconds=240)
    before = round_of(page)
    page.click("text=Learn now")
    wait_for_round(page, before + 1)
    wait_until(page, idle, seconds=240)
    return round_of(page)


@pytest.mark.flaky(reruns=1)  # a browser, a server and a training share the machine with other tests
def test_the_whole_loop(browser: Any, slide: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, mask = slide
    studio = Studio(tmp_path / "project", str(path))
    try:
        page = open_page(browser, studio.wait())
        page.wait_for_selector("form")
        page.click("text=remove >> nth=4")  # the preset's fifth tissue is none of the phantom's
        page.fill("input[type=number]", "1")
        page.click("text=Start")
        page.wait_for_selector("img.tile")
        project = Project.open(tmp_path / "project")
        assert project.tissues.names == TISSUES.names

        seconds = label(page, project, mask, 40)
        assert np.median(seconds) < 0.5  # a fifth of that on a machine that does nothing else
        assert len(project.store.labels()) == 40
        wait_for_round(page, 1)  # begun by itself after ten labels
        asked = page.get_attribute("img.tile", "data-tile")
        page.wait_for_selector(".guess")  # of the tile in hand
        assert page.get_attribute("img.tile", "data-tile") == asked
        round = learn(page)
        page.keyboard.press("Enter")
        page.wait_for_selector(".guess")
        assert page.inner_text("#reason")

        page.click("nav >> text=Slides")
        wait_for_map(page, round)
        assert map_is_shown(page)
        wrong = most_wrong(project, round, mask)
        tile = project.store.tile(wrong)
        box, frame = box_of(page, tile), page.locator(".viewer").bounding_box()
        before = pixels_of(page, box)
        page.mouse.click(frame["x"] + box[0] + box[2] / 2, frame["y"] + box[1] + box[3] / 2)
        page.wait_for_selector(f".spot img[data-tile='{wrong}']")
        assert page.locator(".spot .guess").count() == len(TISSUES)  # today's guess
        marks = truth(project, wrong, mask)
        for index in marks:
            page.keyboard.press(str(index + 1))
        if not marks:
            page.keyboard.press("0")
        wait_until(page, SAVED_TILE, wrong)
        assert project.store.labels()[wrong].ticks == tuple(sorted(TISSUES.names[index] for index in marks))
        page.keyboard.press("Escape")
        corrected = learn(page)
        wait_for_map(page, corrected)
        assert (np.abs(pixels_of(page, box) - before).max(axis=1) > 5).mean() > 0.01  # the map has changed there
        old, new = (
            np.abs(read_guesses(project, r)[wrong] - marks_of(project, wrong, mask)) for r in (round, corrected)
        )
        assert new.sum() < old.sum()

        page.click("nav >> text=Label")
        page.wait_for_selector(".guess")
        assert page.inner_text("#reason")
        page.keyboard.press("Shift+Digit2")
        wait_until(page, f"{SAVED} === 'saved: stroma'")
        page.keyboard.press("z")
        wait_until(page, f"{SAVED} !== 'saved: stroma'")
        page.keyboard.press("y")
        wait_until(page, f"{SAVED} === 'saved: stroma'")
        labels = said(project)
        page.reload()
        page.wait_for_selector(".guess")
        wait_until(page, f"() => document.querySelector('.counts h2').textContent.startsWith('{labels} labels')")

        page.click("nav >> text=Model & results")
        full = page.locator("section", has=page.locator("h2", has_text="Full training"))
        full.locator("input[type=number]").fill("1")
        full.locator("text=Start").click()
        everywhere = page.locator("section", has=page.locator("h2", has_text="Map all slides"))
        everywhere.locator("text=Start").click()
        for section in (full, everywhere):
            section.locator("[role=status]", has_text="finished").wait_for(timeout=240_000)
        assert full.locator(".training .lines svg").count() >= 1
        assert len(list((tmp_path / "project" / "models").glob("*/model.json"))) == 1
        assert len(list((tmp_path / "project" / "maps").glob("*/phantom/tissue.geojson"))) == 1
        with page.expect_download() as download:
            page.click("text=labels as a data folder")
        assert Path(download.value.path()).stat().st_size > 10_000
        with page.expect_download() as download:
            page.click("text=the model of round")
        assert "model.json" in zipfile.ZipFile(download.value.path()).namelist()  # as `histoproto export` packs it
        row = page.locator(".results tbody tr").first
        assert "phantom" in row.inner_text()
        assert row.locator("a", has_text="outlines").count() == 1
        everywhere.locator("text=Copy as command").click()
        everywhere.locator(".command [role=status]", has_text=re.compile("copied|selected")).wait_for()
        assert everywhere.locator("code").inner_text().startswith("histoproto segment ")
        assert page.problems == []
        page.close()

        assert studio.end(signal.SIGKILL) == -signal.SIGKILL
        again = Studio(tmp_path / "project")
        page = open_page(browser, again.wait())
        page.wait_for_selector(".guess")
        assert page.inner_text(".counts h2").startswith(f"{labels} labels")
        assert said(project) == labels
        page.click("nav >> text=Model & results")
        page.locator(".training .lines svg").first.wait_for()  # the curve of a training that another server began
        second = Studio(tmp_path / "project")
        assert second.process.wait(60) == 2
        assert "at work in" in second.log.read_text()
        page.close()
        assert again.end() == 0
        assert "all labels are saved" in again.log.read_text()
    finally:
        studio.end(signal.SIGKILL)


def test_two_people_do_not_get_the_same_tile(browser: Any, slide: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    studio = Studio(tmp_path / "demo", "--demo")
    try:
        address = studio.wait()
        pages = []
        for who in ("AB", "CD"):
            context = browser.new_context(viewport={"width": 1280, "height": 720})
            page = context.new_page()
            page.add_init_script(f"localStorage.setItem('who', '{who}')")
            page.goto(address)
            page.wait_for_selector("img.tile", timeout=120_000)
            pages.append(page)
        assert len({page.get_attribute("img.tile", "data-tile") for page in pages}) == 2
    finally:
        studio.end(signal.SIGKILL)
