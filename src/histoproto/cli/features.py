"""`histoproto features`: what is kept of frozen encoders, and clearing it."""

from __future__ import annotations

from typing import Annotated

import typer

from histoproto.cli.terminal import terminal


def features(
    clear: Annotated[bool, typer.Option("--clear", help="Remove what is listed.")] = False,
    encoder: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only encoders with this in their name.", show_default="all")
    ] = None,
) -> None:
    """Show the features that runs with a frozen encoder have kept, and how to be rid of them.

    They are in the user's cache folder, or in the one that the variable HISTOPROTO_CACHE names, for all runs alike.
    """
    from rich.table import Column, Table

    from histoproto.features.place import clear as remove
    from histoproto.features.place import features_folder, holdings

    found = [each for each in holdings() if encoder is None or encoder in each.description.encoder]
    if not found:
        of = f" of an encoder with {encoder!r} in its name" if encoder is not None else ""
        typer.echo(f"nothing{of} is kept in {features_folder()}")
        return
    table = Table("encoder", "patch", "weights", "views", "GB", Column("folder", overflow="fold"), box=None)
    for each in found:
        what = each.description
        views = f"{each.size / (2 * what.length):.0f}"
        table.add_row(
            what.encoder, f"{what.patch_size} px", what.weights[:12], views, f"{each.size / 1e9:.2f}", each.folder.name
        )
    terminal(soft_wrap=True).print(table)
    total = sum(each.size for each in found) / 1e9
    if clear:
        remove(found)
        typer.echo(f"removed: {total:.2f} GB from {features_folder()}")
    else:
        typer.echo(f"{total:.2f} GB in {features_folder()}; --clear removes what is listed")
