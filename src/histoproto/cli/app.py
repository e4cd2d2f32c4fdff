"""The typer application: every command by name.

`histoproto --help` must stay quick, so a command's file imports typer alone and loads its work inside its function.
"""

from __future__ import annotations

from typing import Annotated

import typer

from histoproto.cli import data, slide
from histoproto.cli.calibrate import calibrate
from histoproto.cli.command import Group, register
from histoproto.cli.compare import compare
from histoproto.cli.demo import demo
from histoproto.cli.doctor import doctor
from histoproto.cli.encoders import encoders
from histoproto.cli.evaluate import evaluate
from histoproto.cli.export import export
from histoproto.cli.features import features
from histoproto.cli.measure import measure
from histoproto.cli.predict import predict
from histoproto.cli.prototypes import prototypes
from histoproto.cli.report import report
from histoproto.cli.schema import schema
from histoproto.cli.segment import segment
from histoproto.cli.studio import merge, studio
from histoproto.cli.train import train
from histoproto.cli.verbosity import VerboseOption, set_verbose
from histoproto.version import __version__

app = typer.Typer(
    name="histoproto",
    cls=Group,
    help="Tissue segmentation of histology slides from image-level labels.",
    no_args_is_help=True,
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
    verbose: VerboseOption = False,
) -> None:
    set_verbose(verbose)


register(app, "demo", demo)
app.add_typer(data.app, name="data")
app.add_typer(slide.app, name="slide")
for command in (
    studio,
    train,
    calibrate,
    evaluate,
    predict,
    segment,
    measure,
    compare,
    prototypes,
    features,
    encoders,
    report,
    export,
    doctor,
    schema,
):
    register(app, command.__name__, command)
register(app, "studio merge", merge)
