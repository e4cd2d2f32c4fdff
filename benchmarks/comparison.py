"""Every table and plot of the comparison in docs/results.md, from the annotated regions to the figures.

    python benchmarks/comparison.py --luad LUAD --glas GLAS --out DIR [--seeds 3] [--jobs 2] [--methods …]

LUAD holds the region folders `pool` and `eval`, GLAS `img`, `mask` and `groups.csv` (see docs/results.md). Whatever is
cut, trained or scored already is left as it is, so that this can be stopped at any time and called again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

METHODS = (
    "lpd,lpd+decoder,lpd+mosaic,lpd+decoder+mosaic,mosaic,pbip,cam,supervised,lpd-published,"
    "lpd:2,lpd+decoder:2,lpd+decoder+mosaic:2"
)
ROWS = (
    "pbip, averaged: pbip training.second_stage_averaging=0.5",
    "pbip, first encoder: pbip training.second_stage_encoder=first",
    "lpd:2, new encoder: lpd:2 training.second_stage_encoder=pretrained",
    "lpd+mosaic:2, new encoder: lpd+mosaic:2 training.second_stage_encoder=pretrained",
)
LUNG = ("--size", "128")
COLON = ("--size", "128", "--stride", "400", "--test-stride", "256", "--region-mpp", "0.62", "--train-masks")
PATIENTS = ("--group-column", "patient", "--test-groups", "1,2,9", "--val-groups", "4")
EPOCHS = {"luad": 4, "luad-rev": 10, "glas": 8}
"""About 240 steps on each data set."""
SENSITIVITY_EPOCHS = 4


def call(*command: object) -> None:
    subprocess.run([sys.executable, *map(str, command)], check=True)


def cut_lung(train: Path, test: Path, out: Path) -> None:
    """Train on one region folder, test on the other; what is there is left as it is."""
    if not (out / "train").exists():
        call("-m", "histoproto", "data", "cut", train, out, *LUNG, "--stride", 96, "--train-masks")
    if not (out / "test").exists():
        call("-m", "histoproto", "data", "cut", test, out, *LUNG, "--split", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--luad", type=Path, required=True)
    parser.add_argument("--glas", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of all runs")
    arguments = parser.parse_args()
    out, settings = arguments.out, [part for setting in arguments.set for part in ("--set", setting)]
    data = {name: out / "data" / name for name in EPOCHS}
    cut_lung(arguments.luad / "pool", arguments.luad / "eval", data["luad"])
    cut_lung(arguments.luad / "eval", arguments.luad / "pool", data["luad-rev"])
    if not data["glas"].exists():
        table = ("--groups", arguments.glas / "groups.csv", *PATIENTS)
        call("-m", "histoproto", "data", "cut", arguments.glas, data["glas"], *COLON, *table)

    rows = [part for row in ROWS for part in ("--row", row)]
    for seeds in range(1, arguments.seeds + 1):  # all data sets have one seed before any has two
        for name, folder in data.items():
            command = ("compare", folder, "--methods", arguments.methods, "--seeds", seeds, "--jobs", arguments.jobs)
            epochs = ("--set", f"training.epochs={EPOCHS[name]}")
            call("-m", "histoproto", *command, *rows, *epochs, *settings, "--out", out / name, "--no-pictures")
        call("-m", "histoproto.compare.merge", *(out / name for name in data), "--to", out / "comparison.md")
    for name, folder in data.items():
        call("-m", "histoproto", "compare", folder, "--out", out / name, "--table-only")
    sensitivity = (Path(__file__).with_name("sensitivity.py"), data["luad-rev"], "--out", out / "sensitivity")
    epochs = ("--set", f"training.epochs={SENSITIVITY_EPOCHS}")
    call(*sensitivity, "--jobs", arguments.jobs, *epochs, *settings, "--images", out / "images")


if __name__ == "__main__":
    main()
