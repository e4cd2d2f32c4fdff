"""The three-loss ablation: trains every row with every seed, scores it, and writes the table.

    python benchmarks/ablation.py DATA --out DIR [--seeds 3] [--jobs 1] [--rows NAME …]

DATA is a data folder with `train` and `test` (see docs/results.md for the cuts). A finished run is never repeated and a
stopped one is resumed; `histoproto compare DATA --out DIR --table-only` makes the table again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from histoproto.compare.plan import Plan, Variant
from histoproto.compare.session import complete
from histoproto.compare.table import MARKDOWN_FILE

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    arguments = parser.parse_args()
    rows = [Variant(name, "lpd", settings=tuple(ROWS[name])) for name in arguments.rows]
    complete(Plan.make(arguments.data, rows, arguments.seeds, "all (feature)"), arguments.out, arguments.jobs)
    print((arguments.out / MARKDOWN_FILE).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
