"""`histoproto measure`: what is measured from maps beside areas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from histoproto.cli.terminal import progress_bars, terminal
from histoproto.words import counted

PRINTED = 30


def measure(
    results: Annotated[Path, typer.Argument(metavar="MAPS", help="What segment wrote, or the folder of one slide.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="The table, as CSV.")],
    near: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A:B:UM",
            help="Share of tissue A within so many µm of B; may be given several times.",
            show_default="each tissue within 100 µm of tumour",
        ),
    ] = None,
    tsr: Annotated[
        str | None,
        typer.Option(metavar="TUMOUR:STROMA", help="Tissues of the TSR.", show_default="tumour and stroma"),
    ] = None,
    tils: Annotated[
        str | None,
        typer.Option(metavar="LYMPHOCYTES:STROMA", help="Of TILs %.", show_default="lymphocytes and stroma"),
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Also measure in each of these: GeoJSON of QuPath, or a folder with one of each slide."
        ),
    ] = None,
) -> None:
    """Measure maps of slides: tumour-stroma ratio, TILs, what lies near what, lengths of interfaces, sizes of regions.

    Reads the maps that segment wrote (MAPS/NAME/tissue.ome.tif), and nothing of the slides.
    """
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from histoproto.slides.measures.part import WHOLE_SLIDE
    from histoproto.slides.measuring import measure_results

    with progress_bars() as bar:
        task = bar.add_task("slides", total=None)
        measured, notes = measure_results(
            results,
            out,
            near or (),
            tsr,
            tils,
            regions,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    shares = {
        name: {row.title: row.value for row in rows if row.region == WHOLE_SLIDE and row.unit == "%"}
        for name, rows in list(measured.items())[:PRINTED]
    }
    titles = list(dict.fromkeys(title for found in shares.values() for title in found))
    if titles:
        table = Table("slide", *map(escape, titles))
        for name, found in shares.items():
            values = (found.get(title, float("nan")) for title in titles)
            table.add_row(Text(name), *("–" if value != value else f"{value:.1f}" for value in values))
        terminal(soft_wrap=True).print(table)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    rows = sum(map(len, measured.values()))
    typer.echo(f"{counted(len(measured), 'slide')} measured, {rows} numbers: {out}")
