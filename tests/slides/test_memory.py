"""Memory does not grow with the slide; `benchmarks/slide_memory.py` measures it up to 4 gigapixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from histoproto.slides.phantom import write_pyramid
from places import TESTS

MEASURE = """
import sys
from pathlib import Path
from fakes import ColourNetwork, colour_card
from histoproto.config import InferenceSettings
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.segment import segment_slide
from histoproto.slides.task import SlideTask
from histoproto.record import peak_memory_mib

card = colour_card(64, mpp=1.0, inference=InferenceSettings())
summary = segment_slide(Segmenter(ColourNetwork(), card, "cpu"), SlideTask(Path(sys.argv[1])), Path(sys.argv[2]))
print(summary.windows, peak_memory_mib())
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    peaks, windows = [], []
    for side in (4096, 10240):
        slide = tmp_path / f"{side}.tif"
        band = np.full((1024, side, 3), 245, np.uint8)
        tissue = band.copy()
        tissue[:, :1024] = tissue[:, -1024:] = (150, 60, 110)  # a corner and its neighbour, above and below
        bands = [tissue, *[band] * (side // 1024 - 2), tissue]
        write_pyramid(slide, iter(bands), (side, side), mpp=1.0)
        command = [sys.executable, "-c", MEASURE, str(slide), str(tmp_path / f"out-{side}")]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=TESTS)
        count, peak = done.stdout.split()
        windows.append(int(count))
        peaks.append(float(peak))
        assert tifffile.imread(tmp_path / f"out-{side}" / "tissue.ome.tif", key=0).shape == (side, side)
    assert windows[0] == pytest.approx(windows[1], rel=0.05)
    assert peaks[1] < 1.1 * peaks[0]
