"""The three-loss ablation: trains every row with every seed, evaluates it, and writes the table.

    python benchmarks/ablation.py DATA --out DIR [--seeds 3] [--jobs 1] [--rows NAME …]

DATA is a data folder with `train` and `test` (see docs/results.md for the cuts). A finished run is never repeated and a
stopped one is resumed; the table can be rebuilt from the run folders at any time (call it again). `--jobs` runs side by
side, each with its share of the cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

NONE = ["loss.diversity=0", "loss.similarity=0"]
SMALL = ["model.prototypes=3", "training.epochs=1", "loss.warmup=0.25"]
ROWS: dict[str, list[str]] = {
    "classification": NONE,
    "+ diversity": ["loss.similarity=0"],
    "+ similarity (feature)": ["loss.diversity=0"],
    "all (feature)": [],
    "small: classification": [*SMALL, *NONE],
    "small: + similarity (feature)": [*SMALL, "loss.diversity=0"],
    "small: + similarity (image)": [*SMALL, "loss.diversity=0", "loss.refiner=image"],
    "small: all (feature)": SMALL,
    "small: all (image)": [*SMALL, "loss.refiner=image"],
    "published": ["loss.published=true"],
}
COLUMNS = (
    "honest",
    "tumour",
    "stroma",
    "normal",
    "oracle",
    "mAP",
    "overlap",
    "coverage",
    "effective",
    "minutes",
    "GiB",
)


def finish(name: str, settings: list[str], seed: int, data: Path, out: Path, threads: int) -> None:
    """Train, evaluate and measure one run, as far as that is not done."""
    run = out / f"{name.replace(' ', '-').replace(':', '').replace('(', '').replace(')', '')}-{seed}"
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}

    def call(*arguments: object) -> None:
        with (out / f"{run.name}.log").open("a") as log:
            command = [sys.executable, "-m", "histoproto", *map(str, arguments)]
            subprocess.run(command, check=True, stdout=log, stderr=log, env=environment)

    if not (run / "model.json").exists():
        if (run / "config.yaml").exists():
            call("train", data, "--out", run, "--resume")
        else:
            given = [part for setting in settings for part in ("--set", setting)]
            call("train", data, "--out", run, "--seed", seed, "--set", "data.workers=0", *given)
    metrics = json.loads((run / "metrics.json").read_text()) if (run / "metrics.json").exists() else {}
    if "honest" not in metrics:
        call("evaluate", run, data)
    if "labels=oracle" not in metrics:
        call("evaluate", run, data, "--labels", "oracle")
    if not (run / "prototypes" / "tissues.csv").exists():
        call("prototypes", run, data, "--out", run / "prototypes")
    values = read(run)
    print(
        f"{name}, seed {seed}: " + ", ".join(f"{k} {v:.2f}" for k, v in zip(COLUMNS, values, strict=True)), flush=True
    )


def read(run: Path) -> list[float]:
    """The columns of a finished run."""
    metrics = json.loads((run / "metrics.json").read_text())
    honest, oracle = metrics["honest"]["test"], metrics["labels=oracle"]["test"]
    record = json.loads((run / "record.json").read_text())
    with (run / "prototypes" / "tissues.csv").open() as file:
        tissues = list(csv.DictReader(file))
    means = [
        np.nanmean([float(t[c] or "nan") for t in tissues]) for c in ("overlap", "coverage", "effective_prototypes")
    ]
    return [
        100 * honest["scores"]["miou"],
        *(100 * honest["tissues"][name]["iou"] for name in ("tumour", "stroma", "normal")),
        100 * oracle["scores"]["miou"],
        100 * honest["classifier"]["mean_average_precision"],
        *means,
        record["seconds"] / 60,
        record["peak_memory_mib"] / 1024,
    ]


def table(rows: list[str], seeds: int, out: Path) -> str:
    """Markdown: mean ± standard deviation over the seeds that are finished."""
    lines = ["| losses | seeds | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name in rows:
        stem = name.replace(" ", "-").replace(":", "").replace("(", "").replace(")", "")
        runs = [out / f"{stem}-{seed}" for seed in range(seeds)]
        done = np.array([read(run) for run in runs if (run / "prototypes" / "tissues.csv").exists()])
        if len(done):
            spread = done.std(axis=0, ddof=1) if len(done) > 1 else np.zeros(done.shape[1])
            cells = [f"{m:.2f} ± {s:.2f}" for m, s in zip(done.mean(axis=0), spread, strict=True)]
            lines.append(f"| {name} | {len(done)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // arguments.jobs)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = [
            pool.submit(finish, name, ROWS[name], seed, arguments.data, arguments.out, threads)
            for seed in range(arguments.seeds)
            for name in arguments.rows
        ]
        for job in jobs:
            job.result()
    text = table(list(ROWS), arguments.seeds, arguments.out)
    (arguments.out / "ablation.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
