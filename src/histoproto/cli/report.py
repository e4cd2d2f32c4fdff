"""`histoproto report`: everything about a run in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from histoproto.cli.inference_options import RunArgument, run_folder


def report(
    run: RunArgument,
    data: Annotated[Path | None, typer.Argument(metavar="DATA", help="Data folder to show its work on.")] = None,
) -> None:
    """Write RUN/report.html anew: scores, examples, prototypes, curves, settings, in one file without links."""
    from histoproto.report.html import write_report

    typer.echo(f"written: {write_report(run_folder(run), data)}")
