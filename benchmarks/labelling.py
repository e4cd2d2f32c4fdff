"""Is the studio's queue worth it? Honest mIoU over labels given, in its order against random order.

    python benchmarks/labelling.py --data luad=DATA glas=DATA --out DIR [--seeds 0 1] [--rules queue random] [--only 1]

A labeller who answers from the true image labels works through the project that the studio would make of the training
patches, with the studio's own store, session, queue and rounds, without HTTP. In either order every label counts, and
the random share is never trained on. DATA is a data folder with labels in its names and masked test patches; `phantom`
needs none. What was measured is in DIR/labelling.csv and is not measured again; DIR/labelling.png is drawn anew after
each curve. --only N: stop after N curves, to go on another time.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np

from histoproto.data.images import image_size
from histoproto.data.layouts import DataFolder, Patch, open_data
from histoproto.documents.tables import write_table
from histoproto.errors import DataError
from histoproto.evaluation.patches import evaluate_patches
from histoproto.evaluation.protocols import PROTOCOLS
from histoproto.evaluation.summary import summarise
from histoproto.features.place import VARIABLE
from histoproto.features.stored import use_stored_features
from histoproto.inference.segmenter import Segmenter
from histoproto.model.saving import load_model
from histoproto.studio.learning import learn
from histoproto.studio.project import Project, ProjectSettings, link
from histoproto.studio.records import SlideRow
from histoproto.studio.rounds import model_folder
from histoproto.studio.session import Session

COLOURS = ("#0072b2", "#888888")
AT = (25, 50, 100, 200, 400)
"""Labels after which the model is scored."""
ROUNDS = (25, 37, 50, 75, 100, 150, 200, 300, 400)
"""Labels after which a round is learnt; the studio does so after every ten, so that its queue knows more than here."""
COLUMNS = ("data", "rule", "seed", "labels", "checks", "miou", "seconds")
ORDERS = "queue", "random"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME=DIR")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rules", nargs="+", choices=ORDERS, default=list(ORDERS))
    parser.add_argument("--only", type=int, default=10**6)
    arguments = parser.parse_args()
    os.environ.setdefault(VARIABLE, str(arguments.out.resolve() / "cache"))
    table = arguments.out / "labelling.csv"
    left = arguments.only
    for seed in arguments.seeds:
        for entry in arguments.data:
            name, _, folder = entry.partition("=")
            data = Path(folder) if folder else phantom(arguments.out / name)
            for rule in arguments.rules:
                if left and (name, rule, str(seed)) not in {key_of(row) for row in rows_of(table)}:
                    curve(name, data, rule, seed, arguments.out)
                    draw(table, arguments.out / "labelling.png")
                    left -= 1


def phantom(folder: Path) -> Path:
    """Patches of many synthetic slides, drawn once."""
    from histoproto.data.phantom import write_phantom

    if not folder.is_dir():
        write_phantom(folder, train=600, val=1, test=150)
    return folder


def curve(name: str, data: Path, rule: str, seed: int, out: Path) -> None:
    """Label, learn and score until there are no more points, adding a row at each to the table."""
    folder = out / "projects" / f"{name}-{rule}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)  # half a curve is not gone on with: its rows are measured again
    session, truth = begin(folder, data, seed)
    project = session.opened()
    test = open_data(data)
    shuffled = np.random.default_rng(seed).permutation(list(truth)).tolist()
    given, rows = 0, []
    for stop in ROUNDS:
        started = time.monotonic()
        while given < min(stop, len(truth)):
            given += 1
            tile = session.next("benchmark")[0]["tile"] if rule != "random" else shuffled[given - 1]
            session.say("benchmark", tile, "label", truth[tile])
        if rule == "random" and stop not in AT:
            continue  # its order asks no model
        try:
            with (out / "training.log").open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
                number = learn(project)
        except DataError as error:  # a tissue that has not been seen yet
            print(f"{name} {rule} {seed}: {given} labels: {error}", flush=True)
            continue
        session.use_round(number)
        seconds = time.monotonic() - started
        if stop in AT:
            miou = honest(model_folder(project, number), test)
            checks = sum(project.store.tile(tile).checks for tile in project.store.labels())
            rows.append((name, rule, seed, given, checks, round(miou, 4), round(seconds, 1)))
            print(*rows[-1], flush=True)
        if given == len(truth):
            break
    table = out / "labelling.csv"
    kept = [row for row in rows_of(table) if key_of(row) != (name, rule, str(seed))]
    write_table(table, COLUMNS, [*([row[key] for key in COLUMNS] for row in kept), *rows])
    session.end()
    shutil.rmtree(folder)


def begin(folder: Path, data: Path, seed: int) -> tuple[Session, dict[int, list[str]]]:
    """A project of the training patches, each a tile of the region or slide it is from; and the ticks of each tile."""
    found = open_data(data)
    side = image_size(found.train[0].image)[0]
    settings = ProjectSettings(tissues=found.tissues.to_dict(), mpp=1.0, tile=side, seed=seed)
    project = Project.create(folder, settings)
    groups: dict[str, list[Patch]] = {}
    for patch in found.train:
        groups.setdefault(patch.group, []).append(patch)
    for group, patches in groups.items():
        slide = SlideRow(group, patches[0].image, 1.0, side * len(patches), side)
        places = [(float(side * i), 0.0, float(side), project.is_check(group, i)) for i in range(len(patches))]
        project.store.add_slide(slide, places)
    (folder / "tiles").mkdir()
    truth = {}
    for tile in project.store.tiles().values():
        patch = groups[tile.slide][round(tile.x / side)]
        link(patch.image, project.picture_path(tile))
        truth[tile.id] = [name for name, there in zip(found.tissues.names, patch.labels or (), strict=True) if there]
    session = Session(folder, automatic=False)
    session.begin()
    session.wait()
    return session, truth


def honest(run: Path, data: DataFolder) -> float:
    """Mean IoU of the test patches as `histoproto evaluate` scores them."""
    network, card = load_model(run)
    segmenter = Segmenter(use_stored_features(network, card.model.encoder, card.patch_size), card, "cpu")
    settings = PROTOCOLS["honest"].settings(card.inference)
    results = evaluate_patches(segmenter, data.test, data.tissues, settings)
    return float(summarise(results, segmenter.tissues, card.thresholds, "ignored")["scores"]["miou"])


def rows_of(table: Path) -> list[dict[str, str]]:
    """What was measured so far."""
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def key_of(row: dict[str, str]) -> tuple[str, str, str]:
    """Of which curve a row is."""
    return row["data"], row["rule"], row["seed"]


def draw(table: Path, picture: Path) -> None:
    """Mean over seeds, with their range, for each data set and order."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = rows_of(table)
    names = sorted({row["data"] for row in rows})
    figure, axes = pyplot.subplots(1, len(names), figsize=(4 * len(names), 3.4), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        for colour, rule in zip(COLOURS, ORDERS, strict=True):
            found: dict[int, list[float]] = {}
            for row in rows:
                if (row["data"], row["rule"]) == (name, rule):
                    found.setdefault(int(row["labels"]), []).append(100 * float(row["miou"]))
            if found:
                x = sorted(found)
                axis.plot(x, [np.mean(found[n]) for n in x], marker="o", color=colour, label=rule)
                axis.fill_between(x, [min(found[n]) for n in x], [max(found[n]) for n in x], color=colour, alpha=0.15)
        axis.set(title=name, xlabel="labels given", xscale="log", xticks=AT, xticklabels=AT)
        axis.minorticks_off()
    axes[0, 0].set_ylabel("honest mIoU, %")
    figure.legend(
        *max((axis.get_legend_handles_labels() for axis in axes[0]), key=lambda found: len(found[1])),
        loc="outside upper right",
    )
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
