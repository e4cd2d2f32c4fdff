"""Old spellings, which still work and say so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

OldOut = Annotated[Path | None, typer.Argument(hidden=True)]
"""Where the output was named before it was `--out` everywhere."""


class Renamed(NamedTuple):
    """An option's old name and its new one; with `values`, only where it was given one of them."""

    old: str
    new: str
    values: tuple[str, ...] = ()


RENAMED: dict[str, tuple[Renamed, ...]] = {
    "cut": (Renamed("--minimum", "--min-fraction"),),
    "tiles": (Renamed("--tissues", "--classes"), Renamed("--tissue", "--min-tissue")),
    "evaluate": (
        Renamed("--background", "--score-background", ("ignored", "counted")),
        Renamed("--find-background", "--background"),
        Renamed("--groups", "--per-group"),
    ),
}


def modern(command: str, arguments: list[str]) -> list[str]:
    """The arguments of a command with old spellings replaced; a note on stderr names each."""
    renamed = RENAMED.get(command, ())
    found = []
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        given = value if equals else arguments[place + 1] if place + 1 < len(arguments) else ""
        for each in renamed if name.startswith("--") else ():
            if name == each.old and (not each.values or given in each.values):
                typer.echo(f"note: {each.old} is the old spelling; write {each.new}", err=True)
                argument = each.new + equals + value
                break
        found.append(argument)
    return found


def chosen_out(command: str, out: Path | None, old: Path | None) -> Path:
    """What `--out` says, or the argument that once stood in its place.

    Raises:
        SettingError: neither was given, or both were.
    """
    from histoproto.errors import SettingError

    if (out is None) == (old is None):
        raise SettingError(f"say once where to write: histoproto {command} --out OUT")
    if old is None:
        assert out is not None
        return out
    typer.echo(f"note: this is the old spelling; write histoproto {command} --out {old}", err=True)
    return old
