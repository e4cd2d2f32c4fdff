"""`histoproto demo`: the whole method on synthetic tissue, from nothing to a report."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histoproto.cli.terminal import terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from histoproto.evaluation.colour import ColourBaseline

PATCHES = {"train": 300, "val": 40, "test": 60}
SETTINGS = ["training.epochs=4"]
QUICK_PATCHES = {"train": 64, "val": 8, "test": 8}
QUICK_SETTINGS = ["training.epochs=1", "model.prototypes=3"]


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="Folder for data, run and masks.")] = Path(
        "histoproto-demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Only see that everything runs; the model is poor.")] = False,
) -> None:
    """Draw tissue, train on image labels alone, score, segment and write a report: no data needed, minutes on a CPU.

    Run again in the same folder, it goes on where it stopped.
    """
    from histoproto.config import load_settings
    from histoproto.data.layouts import open_data
    from histoproto.data.phantom import write_phantom
    from histoproto.evaluation.colour import colour_baseline
    from histoproto.evaluation.protocols import PROTOCOLS, evaluate
    from histoproto.inference.predict import predict_files
    from histoproto.inference.segmenter import Segmenter
    from histoproto.report.html import write_report
    from histoproto.training.run import train

    console = terminal()
    started = time.monotonic()
    data, run, masks = out / "data", out / "run", out / "predictions"
    patches, settings = (QUICK_PATCHES, QUICK_SETTINGS) if quick else (PATCHES, SETTINGS)
    with _step(console, f"drawing {sum(patches.values())} patches of synthetic tissue"):
        folder = open_data(data) if data.is_dir() else write_phantom(data, **patches)
    with _step(console, "measuring what colour alone can do"):
        colour = colour_baseline(folder)
    with _step(console, f"training on the image labels of {len(folder.train)} patches"):
        train(data, run, load_settings(overrides=settings), resume=(run / "config.yaml").is_file())
    with _step(console, f"scoring on {len(folder.test)} patches of other slides"):
        results = evaluate(run, data, tuple(PROTOCOLS))
    with _step(console, "segmenting them"):
        predict_files(Segmenter.load(run), [patch.image for patch in folder.test], masks)
    with _step(console, "writing the report"):
        report = write_report(run, data)
    console.print(_table(results, colour))
    console.print(f"done in {(time.monotonic() - started) / 60:.1f} minutes; look at", soft_wrap=True)
    for path in (report, masks / "overlay"):
        console.print(f"  {path.resolve()}", soft_wrap=True)
    console.print(f"to label tiles and see the map in a browser: {_program()} studio --demo", soft_wrap=True)


def _program() -> str:
    """How this program is called where the person is: by its path where it is not found by name (`make demo`)."""
    own = Path(sys.argv[0])
    return str(own) if own.name == "histoproto" and shutil.which("histoproto") is None else "histoproto"


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    console.print(f"{what} …")
    started = time.monotonic()
    yield
    console.print(f"  {time.monotonic() - started:.0f} s", style="dim")


def _table(results: dict[str, dict[str, Any]], colour: ColourBaseline) -> Table:
    from rich.table import Table

    table = Table("mIoU %", "how it was measured", title="on the held-out patches", title_justify="left")
    rows = [
        (results["honest"]["scores"]["miou"], "honest: tissues predicted, background ignored, one view, no CRF"),
        (results["told"]["scores"]["miou"], "told: the same with tissues told, an upper bound: the rest is borders"),
        (
            results["paper"]["scores"]["miou"],
            "paper: tissues told, background counted, six views, CRF; as papers report",
        ),
        (colour.lookup, "colour alone: the best table from colour to tissue, made with these very masks"),
        (colour.clustered, "colour alone: clusters of colours, matched to these very masks"),
    ]
    for score, how in rows:
        table.add_row(f"{100 * score:.1f}", how)
    return table
