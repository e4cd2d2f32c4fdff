"""How quick the studio's server answers on a slide of a gigapixel, and how much memory it takes with twenty of them.

    python benchmarks/studio_speed.py [--gigapixels 1] [--slides 20] [--labels 500] [--pool 4000]

The server runs as a process of its own and is asked over HTTP, as the page does. The slide is a pyramidal TIFF of
tissue, a few drawn fields repeated; the others are the same file under other names. What is measured: from the start
to the first tile; a piece of the slide; a label and the next tile, alone and while a round is being learnt; a round;
pieces of the map, and how the rest of it follows; memory of the server and of its other processes. Where there are
playwright and Chromium, a browser is driven, too.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import imagecodecs
import numpy as np
import psutil
import tifffile

from histoproto.data.phantom import GLASS, phantom_region
from histoproto.data.phantom_slide import draw_slide

TILE, FIELDS, STEP, LEVELS = 512, 6, 4, 4
MPP = 0.25
MANY = 200
"""Labels that are given while the model learns; each ten begin another round."""
ON_SCREEN, AHEAD, FEW = 8, 30, 9
"""Pieces of the map that are asked for, seconds in which it is gone on with, and labels given meanwhile (no ten: that
would begin a round)."""
PAUSE = 500
"""Milliseconds that a person takes to look at a tile, at the least."""
LABEL_AND_NEXT = """() => new Promise((done) => {
    const before = document.querySelector('img.tile').dataset.tile;
    const begun = performance.now();
    const press = (key, code) =>
        document.body.dispatchEvent(new KeyboardEvent('keydown', { key, code, bubbles: true }));
    press('1', 'Digit1');
    press('Enter', 'Enter');
    const look = () => {
        const tile = document.querySelector('img.tile');
        if (tile && tile.dataset.tile !== before && tile.complete) done(performance.now() - begun);
        else requestAnimationFrame(look);
    };
    look();
})"""


class Server:
    """`histoproto studio` as a process, and a connection to it."""

    def __init__(self, slides: list[Path], project: Path):
        command = [sys.executable, "-m", "histoproto", "studio", *map(str, slides), "--project", str(project)]
        self.project, self.started = project, time.monotonic()
        self.process = subprocess.Popen([*command, "--no-browser"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.address = self.process.stdout.readline().split()[-1]
        address = urlsplit(self.address)
        self.token = parse_qs(address.query)["token"][0]
        self.connection = http.client.HTTPConnection("127.0.0.1", address.port or 0, timeout=600)

    def ask(self, path: str, body: Any = None) -> Any:
        headers = {"x-token": self.token, "content-type": "application/json"}
        content = None if body is None else json.dumps(body)
        self.connection.request("GET" if body is None else "POST", path, content, headers)
        answer = self.connection.getresponse()
        found = answer.read()
        assert answer.status == 200, (path, answer.status, found[:200])
        return json.loads(found) if "json" in answer.headers.get("content-type", "") else found

    def memory(self) -> dict[str, float]:
        """MiB that the server holds, and its children."""
        own = psutil.Process(self.process.pid)
        children = sum(child.memory_full_info().uss for child in own.children(recursive=True))
        return {"server": own.memory_full_info().uss / 2**20, "learner": children / 2**20}

    def end(self) -> None:
        self.process.send_signal(2)
        self.process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigapixels", type=float, default=1.0)
    parser.add_argument("--slides", type=int, default=20)
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--pool", type=int, default=4000, help="Tiles that are looked at before labelling is measured.")
    arguments = parser.parse_args()
    print("| what | median | p95 or once |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide-0.tif"
        write_slide(slide, round((arguments.gigapixels * 1e9) ** 0.5))
        server = Server([slide], Path(folder) / "project")
        try:
            measure(server, arguments.labels, arguments.pool)
        finally:
            server.end()
        more = [slide.with_name(f"slide-{number}.tif") for number in range(1, arguments.slides)]
        for path in more:
            path.hardlink_to(slide)
        server = Server([slide, *more], Path(folder) / "project")
        try:
            many(server, arguments.slides)
        finally:
            server.end()


def measure(server: Server, labels: int, pool: int) -> None:
    row("start to address", [], time.monotonic() - server.started)
    begun = time.monotonic()
    tissues = [{"name": name, "colour": colour} for name, colour in (("tumour", "#d55e00"), ("stroma", "#009e73"))]
    server.ask("/api/project", {"tissues": tissues, "mpp": 0.5, "tile": 128})
    while not (first := server.ask("/api/next?who=AB")):
        time.sleep(0.02)
    server.ask(f"/api/tile/{first[0]['tile']}/picture")
    row("project made to first tile with its picture", [], time.monotonic() - begun)
    pieces(server, "while tiles are looked at")
    while (looking := server.ask("/api/state")["looking"]) is None or looking["done"] < min(pool, looking["of"]):
        time.sleep(1)
    row(f"{looking['done']} tiles looked at", [], time.monotonic() - begun)
    pieces(server, "warm")
    seconds = [label(server, number) for number in range(labels * 5 // 4)]  # a fifth are random checks
    row("label and next tile, rounds in between", seconds)
    learn(server, "round, features not kept yet for all views")
    row("label and next tile, nothing else", [label(server, number) for number in range(5)])
    learn(server, f"round with {server.ask('/api/state')['labels']['all']} labels")
    if (seconds := in_browser(server)) is not None:
        row("browser: keys of a label to the next tile on the screen", seconds)
    server.ask("/api/learn", {})  # unless one that the labels began goes on
    seconds = []
    while server.ask("/api/state")["learning"]["working"] and len(seconds) < MANY:
        seconds.append(label(server, len(seconds), undo=True))
    row("label and next tile while learning", seconds)
    memory = server.memory()
    row("MiB of server, of learner", [memory["server"]], memory["learner"])
    maps(server)


def maps(server: Server, slide: str = "slide-0") -> None:
    """Pieces of the map on the screen, and the rest of the slide, which follows while somebody labels and learns."""
    learn(server, "round again")
    state = server.ask("/api/state")
    number, side = state["round"], state["slides"][0]["width"]
    seconds = []
    for index in range(ON_SCREEN):  # at the middle, from left to right
        begun = time.monotonic()
        server.ask(f"/api/map/{number}/{slide}/{side.bit_length() - 1}/{side // 1024 + index}_{side // 1024}.png")
        seconds.append(time.monotonic() - begun)
    row("piece of the map at the scale of the model", seconds)
    while not (first := server.ask("/api/state")["ahead"]["done"]):
        time.sleep(0.1)
    begun, seconds = time.monotonic(), []
    while time.monotonic() - begun < AHEAD:
        time.sleep(AHEAD / FEW)
        seconds += [label(server, 0, undo=True)] if len(seconds) < FEW else []
    ahead = server.ask("/api/state")["ahead"]
    row("label and next tile while the map is gone on with", seconds)
    row(f"s a block, of {ahead['of']}", [], (time.monotonic() - begun) / (ahead["done"] - first))
    kept = [path.stat().st_size for path in server.project.glob(f"rounds/{number:04d}/pieces/maps/*/*.png")]
    row("kB on the disk a block", [], sum(kept) / 1000 / ahead["done"])
    memory = server.memory()
    row("MiB of server, of both processes beside", [memory["server"]], memory["learner"])
    learn(server, "round that the map waits for")


def label(server: Server, number: int, undo: bool = False) -> float:
    """Seconds from the key to the next tile, with its picture."""
    tile = server.ask("/api/next?who=AB")[0]
    begun = time.monotonic()
    ticks = ["tumour"] * (tile["tile"] % 3 > 0) + ["stroma"] * (tile["tile"] % 2)
    server.ask("/api/say", {"who": "AB", "tile": tile["tile"], "verdict": "label", "ticks": ticks})
    following = server.ask("/api/next?who=AB")[0]
    server.ask(f"/api/tile/{following['tile']}/picture")
    seconds = time.monotonic() - begun
    if undo:
        server.ask("/api/undo", {"who": "AB"})
    return seconds


def in_browser(server: Server, count: int = 60) -> list[float] | None:
    """Seconds from the keys that label a tile and go on to the picture of the next one; None without a browser."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if chromium is None:
        return None
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(server.address)
        page.wait_for_selector("img.tile")
        seconds = []
        for _ in range(count):
            page.wait_for_timeout(PAUSE)
            seconds.append(page.evaluate(LABEL_AND_NEXT) / 1000)
        browser.close()
    server.connection.close()  # which the server gave up meanwhile; the next question opens another
    return seconds


def learn(server: Server, what: str) -> None:
    while server.ask("/api/state")["learning"]["working"]:
        time.sleep(0.1)
    begun = time.monotonic()
    server.ask("/api/learn", {})
    while server.ask("/api/state")["learning"]["working"]:
        time.sleep(0.1)
    row(what, [], time.monotonic() - begun)
    problem = server.ask("/api/state")["learning"]["problem"]
    assert not problem, problem


def pieces(server: Server, what: str, slide: str = "slide-0", count: int = 200) -> None:
    state = next(one for one in server.ask("/api/state")["slides"] if one["name"] == slide)
    top = int(np.ceil(np.log2(max(state["width"], state["height"]))))
    rng = np.random.default_rng(0)
    seconds = []
    for _ in range(count):
        level = top - int(rng.integers(5))
        most = [-(-state[side] // 2 ** (top - level) // 256) - 1 for side in ("width", "height")]
        column, line = (int(rng.integers(max(1, side))) for side in most)
        begun = time.monotonic()
        server.ask(f"/api/slide/{slide}/{level}/{column}_{line}.jpg")
        seconds.append(time.monotonic() - begun)
    row(f"piece of the slide, {what}", seconds[count // 10 :])


def many(server: Server, slides: int) -> None:
    begun = time.monotonic()
    while len((state := server.ask("/api/state"))["slides"]) < slides or state["busy"]:
        time.sleep(0.5)
    row(f"{slides} slides planned", [], time.monotonic() - begun)
    for slide in state["slides"]:
        pieces(server, slide["name"], slide["name"], 20) if slide is state["slides"][-1] else None
        server.ask(f"/api/slide/{slide['name']}/12/1_1.jpg")
    for _ in range(20):
        label(server, 0)
    memory = server.memory()
    row("MiB of server, of learner, with all slides", [memory["server"]], memory["learner"])


def row(what: str, seconds: list[float], once: float | None = None) -> None:
    """A line of the table: in ms where there are many, else in seconds or MiB."""
    if once is None:
        median, high = np.percentile(seconds, [50, 95]) * 1000
        print(f"| {what} ({len(seconds)}) | {median:.0f} ms | {high:.0f} ms |", flush=True)
    else:
        print(
            f"| {what} | {seconds[0] if seconds else float('nan'):.0f} | {once:.1f} |".replace("nan", "–"), flush=True
        )


def write_slide(path: Path, side: int) -> None:
    """A square slide of tissue: fields are drawn and encoded once and repeated, on every level."""
    rng = np.random.default_rng(0)
    stain = draw_slide(rng)
    fields = [
        phantom_region(rng, TILE, TILE, stain, tissues=rng.permutation(GLASS)[:2].tolist(), glass=False, mpp=0.5)[0]
        for _ in range(FIELDS)
    ]
    options = {"photometric": "rgb", "metadata": None, "compression": "jpeg", "tile": (TILE, TILE), "dtype": np.uint8}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in range(LEVELS):
            length = side // STEP**level
            count = -(-length // TILE)
            small = [np.tile(one[:: STEP**level, :: STEP**level], (STEP**level,) * 2 + (1,)) for one in fields]
            pictures = [imagecodecs.jpeg_encode(p, level=70, outcolorspace="ycbcr", subsampling="422") for p in small]
            resolution = (1e4 / MPP / STEP**level,) * 2
            file.write(
                _repeated(pictures, count * count),
                shape=(length, length, 3),
                subfiletype=bool(level),
                resolution=resolution,
                resolutionunit="CENTIMETER",
                **options,
            )


def _repeated(pictures: list[bytes], count: int) -> Iterator[bytes]:
    order = np.random.default_rng(1).integers(len(pictures), size=count)
    yield from (pictures[int(index)] for index in order)


if __name__ == "__main__":
    main()
