"""The claims with power: cross-validation with a frozen encoder on the lung and colon sets, pooled.

    python benchmarks/folds.py --luad LUAD --glas GLAS --out DIR [--methods …] [--row …] [--seeds 10] [--folds 5]
        [--set KEY=VALUE]

LUAD holds the region folders `pool` and `eval` and classes.yaml, GLAS `img`, `mask` and `groups.csv` (see
docs/results.md). Whatever is cut, trained or scored already is left as it is, so that this can be stopped at any time
and called again, with more rows or seeds, and in several processes. All data sets have one seed of every row before any
has two. The runs are those of `histoproto compare --folds`, made one after the other in this process, for a run on kept
features takes hardly longer than starting Python does.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock

from histoproto.compare.folds import write_folds
from histoproto.compare.plan import Plan, make_rows
from histoproto.compare.runner import Task, plan_tasks
from histoproto.compare.table import write_table
from histoproto.compare.work import measure
from histoproto.config import load_settings
from histoproto.methods.registry import PRESETS
from histoproto.training.run import train

METHODS = "lpd,cam,supervised,lpd+decoder,pbip,lpd:2,lpd+decoder:2"
ROWS = (
    "pbip, one stage: pbip training.second_stage=false",
    *(f"lpd, K={count}: lpd model.prototypes={count}" for count in (1, 3, 5)),
    "lpd, no diversity: lpd loss.diversity=0",
)
COLON = ("--stride", "400", "--region-mpp", "0.62", "--group-column", "patient")


def cut(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "histoproto", "data", "cut", *map(str, arguments)], check=True)


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


def cut_data(arguments: argparse.Namespace) -> dict[str, Path]:
    """The two data folders, made where they are not there."""
    data = {name: arguments.out / "data" / name for name in ("luad-all", "glas-all")}
    common = ("--size", 128, "--train-masks")
    if not data["luad-all"].exists():
        regions = gather([arguments.luad / "pool", arguments.luad / "eval"], arguments.out / "luad-regions")
        cut(regions, "--out", data["luad-all"], *common, "--stride", 96)
    if not data["glas-all"].exists():
        table = ("--groups", arguments.glas / "groups.csv", *COLON)
        cut(arguments.glas, "--out", data["glas-all"], *common, *table)
    return data


def first_of(task: Task) -> Path | None:
    """The run that this one goes on from; that of pbip has a row of its own."""
    folder = {"pbip": "pbip-one-stage"}.get(task.variant.label)
    first = task.run.parents[1].with_name(folder) / task.run.parent.name / task.run.name if folder else task.first
    return first if first and (first / "model.json").is_file() else None


def finish(task: Task) -> None:
    """Train and score a run, as far as that is not done."""
    assert task.data is not None
    task.run.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(task.run.with_name(f".{task.run.name}.lock")):
        if (task.run / "model.json").is_file() and (task.run / "prototypes.json").is_file():
            return
        started = time.monotonic()
        own = [f"method={task.variant.method}", f"seed={task.seed}", "data.workers=0", *task.variant.settings]
        own += ["training.second_stage=true"] * task.variant.second_stage
        settings = load_settings(overrides=own, presets=PRESETS)
        train(task.data, task.run, settings, (task.run / "config.yaml").is_file(), first_of(task))
        measure(task.run, task.data)
        print(f"{task.run}: {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--luad", type=Path, required=True)
    parser.add_argument("--glas", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--row", action="append", help="in place of the rows beside --methods; may be repeated")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE, for all rows; may be repeated")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = cut_data(arguments)
    methods = [name for name in arguments.methods.split(",") if name]
    shared = ["training.tuning=frozen", *arguments.set]
    rows = make_rows(methods, ROWS if arguments.row is None else arguments.row, settings=shared)
    for seeds in range(1, arguments.seeds + 1):
        for name, folder in data.items():
            out = arguments.out / name
            out.mkdir(exist_ok=True)
            plan = Plan.make(folder, rows, seeds, folds=arguments.folds).added_to(out)
            plan.write(out)
            write_folds(plan, out)
            asked = [row.label for row in rows]
            for task in plan_tasks(plan, out):
                if task.variant.label in asked and task.seed < seeds:
                    finish(task)
            write_table(plan, out)
    merge = [sys.executable, "-m", "histoproto.compare.merge", *(str(arguments.out / name) for name in data)]
    subprocess.run([*merge, "--to", str(arguments.out / "folds.md")], check=True)


if __name__ == "__main__":
    main()
