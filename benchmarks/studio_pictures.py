"""Pictures of every screen of the studio, in a real browser, on a synthetic slide: for README and docs/studio.md.

    python benchmarks/studio_pictures.py [--out docs/images] [--size 1280x720] [--dark] [--project DIR]

Needs Chromium and `pip install playwright`. Two people label: one everything that the queue asks for, the other a share
of it again, both from the exact mask of the slide with a few mistakes, so that there is something to see on every page.
A project that is there already is only looked at.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from playwright.sync_api import sync_playwright

from histoproto.data.phantom import TISSUES
from histoproto.slides.phantom import write_phantom_slide

LABELS, AGAIN, WRONG = 150, 40, 0.06
EPOCHS, SHOWN_STEP = 20, 80  # of the full training, of which a picture is taken at a step
FLAGS = ["--no-sandbox", "--disable-gpu"]
SLIDE = {"width": 4224, "height": 2816, "mpp": 1.0, "field": 704, "distinct": 24, "glass": 0.0, "seed": 3}
ASK = """async ([path, body]) => {
    const answer = await fetch(path, body === null ? {} : { method: 'POST', body: JSON.stringify(body),
        headers: { 'Content-Type': 'application/json' } });
    return answer.json();
}"""

MAPPED = "() => window.studioViewer?.world.getItemCount() === 2 && studioViewer.world.getItemAt(1).getFullyLoaded()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    parser.add_argument("--size", default="1280x720", help="Of the window, in pixels.")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--project", type=Path, help="Kept here, to be looked at again.")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as started:
        folder = arguments.project or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "breast-07.tif").is_file():
            write_phantom_slide(folder / "breast-07.tif", folder / "mask.tif", **SLIDE)
        new = not (folder / "breast").is_dir()
        command = [sys.executable, "-m", "histoproto", "studio", "--project", str(folder / "breast"), "--no-browser"]
        with subprocess.Popen([*command, str(folder / "breast-07.tif")], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            address = re.search(r"http://\S+", server.stdout.readline())
            assert address
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            page = started.chromium.launch(executable_path=chromium, args=FLAGS).new_page(
                viewport={"width": width, "height": height}, color_scheme="dark" if arguments.dark else "light"
            )
            page.add_init_script("localStorage.setItem('who', 'AB')")
            page.goto(address[0])
            try:
                Screens(page, arguments.out, "-dark" if arguments.dark else "").all(new, folder / "mask.tif")
            finally:
                server.send_signal(signal.SIGINT)


class Screens:
    """What is done on the page, and the pictures of it."""

    def __init__(self, page: Any, out: Path, suffix: str):
        self.page, self.out, self.suffix = page, out, suffix
        out.mkdir(parents=True, exist_ok=True)

    def shoot(self, name: str, part: str = "") -> None:
        """A picture of the window; `part` of the page is at its top, as far as that can be."""
        if part:
            self.page.evaluate("(part) => document.querySelector(part).scrollIntoView()", part)
        self.page.wait_for_timeout(700)
        self.page.screenshot(path=self.out / f"studio-{name}{self.suffix}.jpg", type="jpeg", quality=85)

    def ask(self, path: str, body: Any = None) -> Any:
        return self.page.evaluate(ASK, [path, body])

    def all(self, new: bool, mask: Path) -> None:
        page = self.page
        if new:
            page.wait_for_selector("form")
            page.click("text=remove >> nth=4")
            page.fill("input[type=number]", "1")
            self.shoot("new")
            page.click("text=Start")
            page.wait_for_selector("img.tile")
            self.wait("looking", "working", False)
            self.label(tifffile.imread(mask))
        page.reload()
        self.open("label", "img.tile")
        page.wait_for_selector(".guess")
        while not self.is_amid(page.get_attribute("img.tile", "data-tile")):
            page.keyboard.press("s")
            page.wait_for_timeout(500)
        self.shoot("label")
        page.click("text=Many tiles")
        page.wait_for_selector(".grid img")
        self.shoot("many")
        self.open("slides", ".viewer canvas")
        while not page.evaluate(MAPPED):
            time.sleep(0.5)
        self.shoot("map")
        box = page.locator(".viewer").first.bounding_box()
        page.mouse.click(box["x"] + 0.45 * box["width"], box["y"] + 0.4 * box["height"])
        page.wait_for_selector(".spot")
        self.shoot("correct")
        page.mouse.move(0, 0)
        self.open("contradictions", ".pairs, .empty")
        self.shoot("contradictions")
        self.open("prototypes", "ul.prototypes")
        page.wait_for_timeout(3000)
        self.shoot("prototypes")
        self.open("model", ".model")
        self.shoot("model")
        if not self.suffix:
            self.jobs()

    def is_amid(self, tile: str) -> bool:
        """Whether there is slide all around a tile."""
        found = self.ask(f"/api/tile/{tile}")
        within = zip((found["x"], found["y"]), (SLIDE["width"], SLIDE["height"]), strict=True)
        return all(found["side"] <= start <= whole - 2 * found["side"] for start, whole in within)

    def jobs(self) -> None:
        """A full training as it goes, which is stopped then, and all slides mapped."""
        self.ask("/api/job", {"kind": "train", "epochs": EPOCHS})
        while (self.ask("/api/training")[-1]["progress"] or {}).get("step", 0) < SHOWN_STEP:
            time.sleep(1)
        self.shoot("training", ".card:has(.training)")
        self.ask("/api/job/stop", {"kind": "train"})
        self.ask("/api/job", {"kind": "segment"})
        while self.ask("/api/state")["jobs"]["segment"]["code"] is None:
            time.sleep(1)
        self.page.wait_for_selector(".results .files a")
        self.shoot("areas", ".results")

    def open(self, view: str, wanted: str) -> None:
        self.page.evaluate("(view) => { location.hash = view; }", view)
        self.page.wait_for_selector(wanted, timeout=60_000)

    def wait(self, part: str, key: str, value: Any) -> None:
        while (self.ask("/api/state")[part] or {}).get(key) != value:
            time.sleep(0.5)

    def label(self, mask: np.ndarray) -> None:
        """Two people label from the mask, and the model is learnt in between."""
        rng = np.random.default_rng(0)
        labelled = []
        for number in range(LABELS):
            tile = self.ask("/api/next?who=AB")[0]
            self.say("AB", tile, mask, rng)
            labelled.append(tile)
            if number in (40, 80, 120):
                self.learn()
        for tile in labelled[:AGAIN]:
            self.say("CD", tile, mask, rng)
        self.learn()

    def say(self, who: str, tile: Any, mask: np.ndarray, rng: np.random.Generator) -> None:
        x, y, side = (round(tile[key]) for key in ("x", "y", "side"))
        part = mask[y : y + side, x : x + side]
        ticks = [
            name
            for index, name in enumerate(TISSUES.names)
            if ((part == index).mean() >= 0.05) != (rng.random() < WRONG)
        ]
        body = {"who": who, "tile": tile["tile"], "verdict": "label", "ticks": ticks, "reason": tile["reason"]}
        self.ask("/api/say", body)

    def learn(self) -> None:
        self.wait("learning", "working", False)
        self.ask("/api/learn", {})
        self.wait("learning", "working", False)


if __name__ == "__main__":
    main()
