"""`histoproto slide`: what a slide is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from histoproto.cli.command import Group, register
from histoproto.cli.slide_options import ImageOption
from histoproto.words import counted


def info(
    slides: Annotated[
        list[Path],
        typer.Argument(
            metavar="SLIDES...", help="Slides, folders or patterns of them, or CSV tables: slide, mpp, image."
        ),
    ],
    mpp: Annotated[
        float | None, typer.Option(min=1e-3, help="µm/px of the slides.", show_default="what their files say")
    ] = None,
    image: ImageOption = None,
    thumbnail: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a small picture of the only slide, as PNG.")
    ] = None,
) -> None:
    """Say what slides are: format, size, levels, µm/px and where it comes from, and which image of a file is read.

    Ends with 2 if one of them cannot be read.
    """
    from histoproto.errors import DataError, SettingError
    from histoproto.slides.many.tasks import find_slides
    from histoproto.slides.reading.info import describe_slide

    tasks = find_slides(slides, mpp, image=image)
    if thumbnail and len(tasks) > 1:
        raise SettingError(f"--thumbnail is a file for one slide, found {len(tasks)} slides; name one of them")
    if thumbnail and thumbnail.exists():
        raise SettingError(f"{thumbnail} is there already; name another file")
    unreadable = 0
    for task in tasks:
        found = describe_slide(task.path, task.mpp, thumbnail, task.image)
        typer.echo(str(found.path))
        for name, fact in found.facts.items():
            typer.echo(f"  {name}: {fact}")
        for note in found.notes:
            typer.echo(f"  note: {note}")
        typer.echo(f"  readable: {'yes' if found.readable else 'no: ' + found.problem}")
        unreadable += not found.readable
    if unreadable:
        raise DataError(f"{unreadable} of {counted(len(tasks), 'slide')} cannot be read")
    if thumbnail:
        typer.echo(f"written: {thumbnail}")


app = typer.Typer(help="Look at slides.", no_args_is_help=True, cls=Group)


@app.callback()
def _slide() -> None:
    pass  # so that `info` keeps its name while it is the only one


register(app, "info", info)
