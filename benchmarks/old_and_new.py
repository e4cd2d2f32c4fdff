"""Whether `segment` is as quick and as small as in an earlier version, and near to the network alone, in one run.

    git worktree add ../earlier COMMIT
    python benchmarks/old_and_new.py RUN SLIDE --old ../earlier/src --mpp 0.5 [--rounds 3] [--overlap 0.5]

In turns: the earlier code, this code, this code with its default overlap, and the network alone on windows of the slide
that are ready in memory; each is a process of its own, on one thread (`OMP_NUM_THREADS` for others). Rates are windows
per second from the opening of the slide to the last file (`seconds` of record.json), peaks those of the processes.
Medians over the rounds. RUN is one that both versions can read: trained by the earlier. The machine should do nothing
else.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[1] / "src"
ALONE = 2000
"""Windows that the network alone goes through."""


class Turn(NamedTuple):
    """What a process said of itself."""

    windows: int
    seconds: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--old", type=Path, help="src of the earlier code")
    parser.add_argument("--mpp", type=float, default=0.5, help="of the slide and of the model")
    parser.add_argument("--overlap", type=float, default=0.5, help="in both versions; each had another default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.run, arguments.slide, arguments.mpp)
        return
    overlap = ["--overlap", str(arguments.overlap)]
    ways = {
        "earlier": lambda: segment(arguments, arguments.old, overlap),
        "now": lambda: segment(arguments, HERE, overlap),
        "now, default overlap": lambda: segment(arguments, HERE, []),
        "network alone": lambda: network(arguments),
    }
    if arguments.old is None:
        del ways["earlier"]
    turns: dict[str, list[Turn]] = {way: [] for way in ways}
    for number in range(arguments.rounds):
        for way, work in ways.items():
            turns[way].append(work())
            print(f"round {number + 1}, {way}: {turns[way][-1]}", file=sys.stderr, flush=True)
    rates = {way: statistics.median(turn.windows / turn.seconds for turn in found) for way, found in turns.items()}
    print("| | windows | s | windows/s | of the network alone | peak MiB |\n|---|---|---|---|---|---|")
    for way, found in turns.items():
        seconds, peak = (statistics.median(column) for column in list(zip(*found, strict=True))[1:])
        share = 100 * rates[way] / rates["network alone"]
        print(f"| {way} | {found[0].windows} | {seconds:.1f} | {rates[way]:.1f} | {share:.0f} % | {peak:.0f} |")


def segment(arguments: argparse.Namespace, source: Path, options: list[str]) -> Turn:
    with tempfile.TemporaryDirectory() as out:
        mpp = str(arguments.mpp)
        call = ["segment", arguments.run, arguments.slide, "--out", out, "--mpp", mpp, "--model-mpp", mpp, *options]
        child(source, ["-m", "histoproto", *map(str, call)])
        (path,) = Path(out).glob("*/record.json")
        record = json.loads(path.read_text())
    return Turn(record["windows"], record["seconds"], record["peak_memory_mib"])


def network(arguments: argparse.Namespace) -> Turn:
    call = [__file__, arguments.run, arguments.slide, "--mpp", arguments.mpp, "--alone"]
    windows, seconds, peak = json.loads(child(HERE, list(map(str, call))))
    return Turn(windows, seconds, peak)


def child(source: Path, call: list[str]) -> str:
    environment = {"OMP_NUM_THREADS": "1"} | os.environ | {"PYTHONPATH": str(source), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([sys.executable, *call], env=environment, check=True, capture_output=True, text=True).stdout


def alone(run: Path, slide: Path, mpp: float) -> None:
    import numpy as np
    import torch

    from histoproto.inference.patches import as_batch
    from histoproto.inference.segmenter import Segmenter
    from histoproto.record import peak_memory_mib
    from histoproto.slides.reading.opening import open_slide

    segmenter, batch = Segmenter.load(run, "cpu"), 8
    side = segmenter.card.patch_size
    with open_slide(slide, mpp) as reader:
        rng = np.random.default_rng(0)
        places = zip(*(rng.integers(0, length - side, 256) for length in (reader.width, reader.height)), strict=True)
        kept = np.stack([reader.read(int(left), int(top), side, side) for left, top in places])
    with torch.inference_mode():
        for start in range(0, 64 + ALONE, batch):
            if start == 64:  # warm
                begun = time.perf_counter()
            part = np.take(kept, range(start, start + batch), axis=0, mode="wrap")
            segmenter.network.class_maps(as_batch(part, segmenter.device)).logits.cpu()
    print(json.dumps([ALONE, time.perf_counter() - begun, peak_memory_mib()]))


if __name__ == "__main__":
    main()
