"""`histoproto prototypes`: what each prototype of a run looks for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from histoproto.cli.inference_options import RunArgument


def prototypes(
    run: RunArgument,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data folder to look at, with masks or without.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="Folder to write to.")],
) -> None:
    """Show what each prototype looks for: a gallery (prototypes.html), and its figures as CSV.

    tissues.csv has coverage, pairwise overlap and the effective number of prototypes per tissue, prototypes.csv the
    purity of each prototype.
    """
    from histoproto.report.prototype_page import write_prototypes

    typer.echo(f"written: {write_prototypes(run, data, out)}, tissues.csv, prototypes.csv")
