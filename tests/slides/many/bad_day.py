"""What the tests of bad days share: a slow model, slides, processes forked from here."""

from __future__ import annotations

import csv
import json
import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import numpy as np
import tifffile
import torch
from torch import Tensor

from fakes import ColourNetwork
from histoproto.model.network import ClassMaps
from histoproto.slides.many.batch import BatchReport, segment_slides
from histoproto.slides.many.tasks import find_slides

MPP = 0.5


class SlowNetwork(ColourNetwork):
    """Takes its time, so that a test can come in between."""

    seconds = 0.0

    def class_maps(self, x: Tensor) -> ClassMaps:
        time.sleep(self.seconds)
        return super().class_maps(x)


def write_slide(path: Path, height: int = 300, width: int = 400, colour: tuple[int, int, int] = (200, 30, 30)) -> Path:
    """A tiled JPEG TIFF: tissue of one colour with noise on it, glass along the left side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(-10, 11, (height, width, 1))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    pixels[:, : width // 5] = 244
    tifffile.imwrite(
        path,
        pixels,
        tile=(64, 64),
        compression="jpeg",
        photometric="rgb",
        resolution=(1e4 / MPP, 1e4 / MPP),
        resolutionunit="CENTIMETER",
    )
    return path


def segment(run: Path, slides: Path, out: Path, **options: object) -> BatchReport:
    return segment_slides(run, find_slides([slides]), out, device="cpu", **options)  # type: ignore[arg-type]


def states(report: BatchReport) -> dict[str, str]:
    return {outcome.job.name: outcome.state for outcome in report.outcomes}


def assert_complete(out: Path, *names: str) -> None:
    """Exactly these slides have folders, all of them whole, and nothing half-done lies about."""
    assert {path.name for path in out.iterdir() if path.is_dir()} == set(names)
    assert {path.name for path in out.rglob(".*")} <= {".histoproto"}
    for name in names:
        assert {"tissue.ome.tif", "tissue.geojson", "areas.csv", "overview.png", "record.json"} <= {
            path.name for path in (out / name).iterdir()
        }
        json.loads((out / name / "record.json").read_text())
    if names:
        with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
            assert {row["name"] for row in csv.DictReader(file) if row["state"] == "done"} == set(names)


def fork(work: Callable[[], object]) -> ForkProcess:
    """A process that goes on from here, without the seconds it takes to import torch again."""

    def alone() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
        torch.set_num_threads(1)
        work()

    process = get_context("fork").Process(target=alone)
    process.start()
    return process


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
