"""The typer application: every command by name.

`histoproto --help` must stay quick, so a command's file imports typer alone and loads its work inside its function.
"""

from __future__ import annotations

from typing import Annotated

import typer

from histoproto import __version__
from histoproto.cli.doctor import doctor
from histoproto.cli.train import train

app = typer.Typer(
    name="histoproto",
    help="Tissue segmentation of histology slides from image-level labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"histoproto {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = (
        False
    ),
) -> None:
    pass


app.command()(train)
app.command()(doctor)
