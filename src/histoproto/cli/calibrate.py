"""`histoproto calibrate`: what a run of an earlier version does not know of doubt and of strangeness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from histoproto.cli.inference_options import RunArgument


def calibrate(
    run: RunArgument,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The data folder that it was trained on.")],
) -> None:
    """Fit how sure a model may be, and how its training patches look; training does it, too.

    No mask is used, and the label maps of the model stay as they are.
    """
    from histoproto.training.calibrate import calibrate as fit

    card = fit(run, data)
    if card.temperature:
        typer.echo(f"temperature of chances: {card.temperature.value:.2f} ({card.temperature.calibrated_on})")
    else:
        typer.echo("temperature of chances: none, for no patches were held out")
    if card.familiar:
        typer.echo(f"strangeness: known by {card.familiar.calibrated_on}")
    else:
        typer.echo("strangeness: nothing is known, for there are too few patches or groups")
