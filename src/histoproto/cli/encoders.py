"""`histoproto encoders`: which encoders are known by name, and whether one works on this machine."""

from __future__ import annotations

from typing import Annotated

import typer


def encoders(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Check this one: NAME, NAME@FILE, hf-hub:OWNER/NAME or local-dir:PATH. Builds it, loads its weights "
            "(fetching them where they are not here) and lets it see an image.",
        ),
    ] = None,
) -> None:
    """List known encoders with licence, size and scale, or check one."""
    from histoproto.model.known_encoders import KNOWN
    from histoproto.model.looking import check_encoder, described

    for line in map(described, KNOWN) if name is None else check_encoder(name):
        typer.echo(line)
    if name is None:
        typer.echo("Any other timm model, hf-hub:OWNER/NAME or local-dir:PATH: `histoproto encoders NAME` checks one.")
