"""`histoproto compare`: many methods and seeds on the same footing, and the table."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histoproto.cli.terminal import terminal
from histoproto.words import counted

if TYPE_CHECKING:
    from rich.table import Table

    from histoproto.compare.table import Comparison

SHOWN = ("miou", "mislabelled", "seconds")
"""Columns in the terminal; the files have all."""


def compare(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data folder with training and masked test patches.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="Folder for the runs and the table.")],
    methods: Annotated[
        str, typer.Option(help="Names with commas between; `lpd:2` is lpd with a second stage trained on its masks.")
    ] = "",
    rows: Annotated[
        list[str] | None,
        typer.Option("--row", metavar="ROW", help="One more row, 'LABEL: METHOD key=value …'; may be repeated."),
    ] = None,
    second_stage: Annotated[
        str, typer.Option(metavar="METHODS", help="Methods that get one more row, with a second stage; or `all`.")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0, 1, … of each row.")] = 3,
    folds: Annotated[
        int,
        typer.Option(min=0, help="Cross-validate: test each group of the training part once, in so many folds; 0: no."),
    ] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings in YAML, for all rows.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, for all rows.")
    ] = None,
    reference: Annotated[str, typer.Option(help="Row that the others are compared with.")] = "lpd",
    paper: Annotated[bool, typer.Option("--paper", help="Score under the protocol `paper` too (slow: CRF).")] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show the methods at work in comparison.html.")
    ] = True,
    table_only: Annotated[bool, typer.Option("--table-only", help="Run nothing; show what is there.")] = False,
) -> None:
    """Train and score methods on the same patches, encoder and budget, and compare them.

    Writes comparison.csv (a row per run), comparison.md and comparison.html. A stopped comparison goes on where it was,
    a finished run is never repeated, and rows can be added later with the same --out.
    """
    from histoproto.compare.page import write_page
    from histoproto.compare.plan import Plan, make_rows, read_plan
    from histoproto.compare.session import complete
    from histoproto.compare.table import write_table
    from histoproto.errors import RunError

    failed = []
    if not table_only:
        asked = make_rows(_names(methods), rows or [], _names(second_stage), config, overrides or [])
        # `kill` stops a comparison as Ctrl-C does: with its children, each of which goes on the next time.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        failed = complete(Plan.make(data, asked, seeds, reference, folds), out, jobs, paper, typer.echo)
    found = write_table(read_plan(out), out)
    terminal().print(_short(found))
    typer.echo(f"written: {out / 'comparison.md'}, comparison.csv")
    if found.results and not found.plan.folds:  # a page shows one model at work
        typer.echo(f"written: {write_page(replace(found.plan, data=data), out, pictures)}")
    if failed:
        logs = ", ".join(str(task.log) for task in failed)
        raise RunError(
            f"{counted(len(failed), 'run')} failed, see {logs}; what is mended is tried again by the same command"
        )


def _short(found: Comparison) -> Table:
    """The main columns, as wide as a terminal."""
    from rich.table import Table

    from histoproto.compare.table import difference_words

    title = f"{found.protocol or 'no run is finished'}; mean ± standard deviation over seeds, in %"
    title += f"; differences to {found.plan.reference}"
    table = Table(title=title, title_justify="left", caption="\n".join(found.notes), caption_justify="left", box=None)
    table.add_column("method", no_wrap=True)
    places = [i for i, column in enumerate(found.columns) if column.key in SHOWN]
    for heading in ("seeds", *(found.columns[i].heading for i in places), "difference"):
        table.add_column(heading, justify="right", overflow="fold")  # rather two lines than a figure cut off
    words = {one.label: "{} ({})".format(*difference_words(one)) for one in found.differences}
    for row in found.rows:
        table.add_row(row.label, str(row.seeds), *(str(row.cells[i]) for i in places), words.get(row.label, ""))
    return table


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
