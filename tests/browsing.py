"""The studio as a process, and a browser's page of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
IN_A_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


class Studio:
    """The command in a process, and the address that it prints."""

    def __init__(self, project: Path, *arguments: str):
        self.project = project
        self.log = project.with_suffix(".log")
        command = [sys.executable, "-m", "histoproto", "studio", *arguments, "--project", str(project), "--no-browser"]
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        self.address = ""

    def wait(self) -> str:
        until = time.monotonic() + 120
        while not (found := re.search(r"http://\S+", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        self.address = found[0]
        return self.address

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, how)
        return self.process.wait(30)


def open_page(browser: Any, address: str) -> Any:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(60_000)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda line: page.problems.append(line.text) if line.type == "error" else None)
    page.goto(address)
    return page


def wait_until(page: Any, expression: str, argument: Any = None, seconds: float = 60) -> None:
    """Until JavaScript is true; Playwright's own way needs `eval`, which the page's policy forbids."""
    until = time.monotonic() + seconds
    while not page.evaluate(expression, argument):
        assert time.monotonic() < until, f"{expression} is not true after {seconds} s; {page.problems}"
        page.wait_for_timeout(10 if seconds <= 60 else 500)


def violations(page: Any) -> list[str]:
    """What axe finds of serious or critical faults of accessibility on the page as it is: rule, and where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['impact']} {one['id']}: {node['html'][:160]} ({' '.join(node.get('failureSummary', '').split())[:200]})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
