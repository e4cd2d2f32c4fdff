"""What the tunings cost on the clock, in memory and on disk: whole `histoproto train` processes that take turns.

    python benchmarks/tuning_cost.py DATA [--turns 3] [--labels 100 500 2000] [--method lpd] [--threads N]

Without --labels: full tuning, frozen with no features kept yet (cold), and frozen again (filled), in turns, and their
ratios. With --labels: seconds from so many labelled patches to a model, cold and filled; DATA must have as many.
Features go to a folder of their own, which is emptied before each cold run. Give it an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from histoproto.data.layouts import open_data

FROZEN = ("--set", "training.tuning=frozen")
KINDS = {"full": (), "frozen, cold": FROZEN, "frozen, filled": FROZEN}


def train(kind: str, data: Path, place: Path, options: list[str], threads: int | None) -> tuple[float, float]:
    """Seconds on the clock from the start of the process to its end, and its peak memory in GiB."""
    environment = {**os.environ, "HISTOPROTO_CACHE": str(place / "cache")}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    if kind.endswith("cold"):
        shutil.rmtree(place / "cache", ignore_errors=True)
    out = place / "run"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "histoproto", "train", str(data), "--out", str(out), "--no-report"]
    started = time.monotonic()
    subprocess.run([*command, *KINDS[kind], *options], check=True, env=environment, capture_output=True)
    seconds = time.monotonic() - started
    return seconds, json.loads((out / "record.json").read_text())["peak_memory_mib"] / 1024


def measure(
    data: Path, kinds: list[str], turns: int, options: list[str], threads: int | None
) -> tuple[dict[str, tuple[float, float]], float]:
    """Median seconds and highest memory of each kind, and the GB of features that one run keeps."""
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(turns):
            for kind in kinds:
                found[kind].append(train(kind, data, Path(folder), options, threads))
        size = sum(file.stat().st_size for file in Path(folder).glob("cache/**/*.features")) / 1e9
    return {
        kind: (statistics.median(s for s, _ in runs), max(m for _, m in runs)) for kind, runs in found.items()
    }, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--labels", type=int, nargs="+", default=[])
    parser.add_argument("--method", default="lpd")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    patches = len(open_data(arguments.data).split("train"))
    common = ["--method", arguments.method]
    print(
        "| labelled patches | tuning | s on the clock | of full | peak GiB | features, GB |\n|---|---|---|---|---|---|"
    )
    for count in arguments.labels or [patches]:
        if count > patches:
            parser.error(f"{arguments.data} has {patches} labelled patches, not {count}")
        kinds = [kind for kind in KINDS if kind != "full" or not arguments.labels]
        options = [*common, "--set", f"data.fraction={count / patches}"]
        times, size = measure(arguments.data, kinds, arguments.turns, options, arguments.threads)
        for kind, (seconds, memory) in times.items():
            ratio = f"1/{times['full'][0] / seconds:.1f}" if "full" in times else "–"
            kept = "–" if kind == "full" else f"{size:.3f}"
            print(f"| {count} | {kind} | {seconds:.1f} | {ratio} | {memory:.2f} | {kept} |", flush=True)


if __name__ == "__main__":
    main()
