"""How long a newcomer needs from the command to a map on the screen: `histoproto studio --demo`, in a real browser.

    python benchmarks/studio_newcomer.py [--tiles 40] [--thought 3]

Needs Chromium and `pip install playwright`. Tiles are labelled by keys from the exact mask of the synthetic slide, each
after as many seconds as a person looks at it; then the slide is opened and its map awaited.
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

LEAST = 0.05
"""Share of a tile that a tissue covers which is ticked."""
STATE = "async () => (await fetch('/api/state')).json()"
TILE = "async (tile) => (await fetch(`/api/tile/${tile}`)).json()"
SAID = "document.querySelector('.saved')?.textContent.startsWith('saved')"
OTHER = "(tile) => document.querySelector('img.tile')?.dataset.tile !== tile"
MAP = "() => window.studioViewer?.world.getItemCount() === 2 && studioViewer.world.getItemAt(1).%s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=40)
    parser.add_argument("--thought", type=float, default=3.0, help="Seconds before the first key of a tile.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as started:
        project = Path(temporary) / "trial"
        begun = time.monotonic()
        command = [sys.executable, "-m", "histoproto", "studio", "--demo", "--no-browser", "--project", str(project)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout
                address = re.search(r"http://\S+", server.stdout.readline())
                assert address
                row("the address is printed, the slide painted", begun)
                chromium = shutil.which("chromium") or shutil.which("google-chrome")
                browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
                page = browser.new_page(viewport={"width": 1280, "height": 720})
                page.goto(address[0])
                page.wait_for_selector("img.tile", timeout=120_000)
                row("the first tile is on the screen", begun)
                mask = tifffile.imread(project.with_name("trial-demo") / "phantom-mask.tif")
                first = label(page, mask, arguments.tiles, arguments.thought)
                row(f"{arguments.tiles} tiles are labelled", begun)
                print(f"| label at which the first model was there | {first} |")
                page.click("nav >> text=Slides")
                until(page, MAP % "lastDrawn.length")
                row("a map is on the slide", begun)
                until(page, MAP % "getFullyLoaded()")
                row("it is worked out in full where one looks", begun)
            finally:
                server.send_signal(signal.SIGINT)


def label(page: Any, mask: np.ndarray, tiles: int, thought: float) -> int | None:
    """Label tiles from the mask; how many labels there were when the first model was seen."""
    first = None
    for number in range(1, tiles + 1):
        page.wait_for_timeout(1000 * thought)
        tile = page.get_attribute("img.tile", "data-tile")
        found = page.evaluate(TILE, tile)
        x, y, side = (round(found[key]) for key in ("x", "y", "side"))
        part = mask[y : y + side, x : x + side]
        marks = [index for index in range(len(TISSUES)) if (part == index).mean() >= LEAST]
        for key in [str(index + 1) for index in marks] or ["0"]:
            page.keyboard.press(key)
        until(page, SAID)
        page.keyboard.press("Enter")
        until(page, OTHER, tile)
        if first is None and page.evaluate(STATE)["round"]:
            first = number
    while page.evaluate(STATE)["round"] == 0:
        page.wait_for_timeout(200)
    return first


def until(page: Any, expression: str, argument: Any = None) -> None:
    while not page.evaluate(expression, argument):
        page.wait_for_timeout(50)


def row(what: str, begun: float) -> None:
    print(f"| {what} | {time.monotonic() - begun:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
