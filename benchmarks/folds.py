"""The claims with power: cross-validation with a frozen encoder on the lung and colon sets, pooled.

    python benchmarks/folds.py --luad LUAD --glas GLAS --out DIR [--seeds 10] [--folds 5] [--jobs 2]

LUAD holds the region folders `pool` and `eval` and classes.yaml, GLAS `img`, `mask` and `groups.csv` (see
docs/results.md). Whatever is cut, trained or scored already is left as it is, so that this can be stopped at any time
and called again. All data sets have one seed of every row before any has two.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

METHODS = "lpd,cam,supervised,lpd+decoder,pbip,lpd:2,lpd+decoder:2"
ROWS = (
    "pbip, one stage: pbip training.second_stage=false",
    *(f"lpd, K={count}: lpd model.prototypes={count}" for count in (1, 3, 5)),
    "lpd, no diversity: lpd loss.diversity=0",
    "lpd, no similarity: lpd loss.similarity=0",
)
COLON = ("--stride", "400", "--region-mpp", "0.62", "--group-column", "patient")


def call(*command: object) -> None:
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True)


def gather(parts: list[Path], out: Path) -> Path:
    """One region folder of several, whose names get that of their folder before them; a folder that is there stays."""
    if not out.exists():
        part = out.with_name(f".{out.name}")
        for source in parts:
            for kind in ("img", "mask"):
                (part / kind).mkdir(parents=True, exist_ok=True)
                for file in sorted((source / kind).iterdir()):
                    shutil.copyfile(file, part / kind / f"{source.name}-{file.name}")
        shutil.copyfile(parts[0].parent / "classes.yaml", part / "classes.yaml")
        part.rename(out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--luad", type=Path, required=True)
    parser.add_argument("--glas", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    data = {name: out / "data" / name for name in ("luad-all", "glas-all")}
    common = ("--size", 128, "--train-masks")
    if not data["luad-all"].exists():
        regions = gather([arguments.luad / "pool", arguments.luad / "eval"], out / "luad-regions")
        call("histoproto", "data", "cut", regions, "--out", data["luad-all"], *common, "--stride", 96)
    if not data["glas-all"].exists():
        table = ("--groups", arguments.glas / "groups.csv", *COLON)
        call("histoproto", "data", "cut", arguments.glas, "--out", data["glas-all"], *common, *table)
    rows = [part for row in ROWS for part in ("--row", row)]
    for seeds in range(1, arguments.seeds + 1):
        for name, folder in data.items():
            how = ("--folds", arguments.folds, "--seeds", seeds, "--jobs", arguments.jobs)
            frozen = ("--set", "training.tuning=frozen")
            call("histoproto", "compare", folder, "--out", out / name, "--methods", METHODS, *rows, *how, *frozen)
        call("histoproto.compare.merge", *(out / name for name in data), "--to", out / "folds.md")


if __name__ == "__main__":
    main()
