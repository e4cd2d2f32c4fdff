"""`histoproto report`: everything about a run in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a trained model.")],
    data: Annotated[Path | None, typer.Argument(metavar="DATA", help="Data folder to show its work on.")] = None,
) -> None:
    """Write RUN/report.html anew: scores, examples, prototypes, curves, settings, in one file without links."""
    from histoproto.report.html import write_report

    typer.echo(f"written: {write_report(run, data)}")
