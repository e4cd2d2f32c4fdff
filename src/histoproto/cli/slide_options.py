"""What commands share that take slides."""

from __future__ import annotations

from typing import Annotated

import typer

ImageOption = Annotated[
    str | None,
    typer.Option("--image", metavar="NUMBER|NAME", help="Of TIFF files that hold several.", show_default="the largest"),
]
"""Which image of a file is meant, for commands that take slides."""
