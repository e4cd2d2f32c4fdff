"""Every command with a call of it that works, and every option, as the application itself declares them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from campaign.good import SMALL_OPTIONS


@dataclass(frozen=True)
class Call:
    """A call that works.

    Attributes:
        arguments: after the name of the command.
        needs: the good inputs it takes.
        quick: whether it may be run as it is; else only with what must be refused at once.
    """

    arguments: list[str]
    needs: list[str]
    quick: bool = True
    refused: bool = False
    """Whether the call is refused at its very end, so that anything may be tried with it."""


CALLS = {
    "demo": Call(["--quick", "--out", "out"], [], quick=False),
    "data check": Call(["data"], ["data"]),
    "data cut": Call(["regions", "--out", "out", "--size", "32"], ["regions"]),
    "data tiles": Call(
        ["slides/slide.tif", "--out", "out", "--classes", "a,b", "--mpp", "1", "--size", "64"], ["slides"]
    ),
    "data phantom": Call(["--out", "out", "--train", "2", "--val", "1", "--test", "1", "--size", "32"], []),
    "data phantom-slide": Call(["--out", "out.tif", "--width", "64", "--height", "64"], []),
    "train": Call(["data", "--out", "out", "--no-report", *SMALL_OPTIONS], ["data"]),
    "evaluate": Call(["run", "data"], ["run", "data"]),
    "predict": Call(["run", "images", "--out", "out"], ["run", "images"]),
    "segment": Call(["run", "slides/slide.tif", "--out", "out"], ["run", "slides"]),
    "measure": Call(["segmented", "--out", "out.csv"], ["segmented"]),
    "compare": Call(["data", "--out", "comparison", "--table-only"], ["data", "comparison"]),
    "prototypes": Call(["run", "data", "--out", "out"], ["run", "data"]),
    "report": Call(["run", "data"], ["run", "data"]),
    "export": Call(["run", "--out", "out", "--format", "torch-export"], ["run"]),
    "doctor": Call([], []),
    "schema": Call(["config"], []),
    "slide info": Call(["slides/slide.tif"], ["slides"]),
    "features": Call(["--encoder", "none of mine"], []),
    "encoders": Call(["tf_efficientnet_lite0"], []),
    "studio merge": Call(["images", "regions", "--out", "out"], ["images", "regions"], quick=False, refused=True),
    "data export": Call(["images", "--out", "out"], ["images"], quick=False, refused=True),
    "calibrate": Call(["run", "data"], ["run", "data"]),
    "studio": Call(["slides", "--no-browser", "--host", "203.0.113.1"], ["slides"], quick=False, refused=True),
}
"""A new command needs a call here; a test looks whether there is one for each."""


@dataclass(frozen=True)
class Option:
    """An option or argument of a command."""

    command: str
    name: str
    """`--mpp`, or the name of the argument."""
    type: type
    place: int | None = None
    """Of an argument, among the arguments."""


def commands() -> dict[str, Any]:
    """The functions of all commands by name."""
    from histoproto.cli.app import app

    return dict(_commands(app, ""))


def _commands(app: typer.Typer, prefix: str) -> Iterator[tuple[str, Any]]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield prefix + (command.name or command.callback.__name__.replace("_", "-")), command.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance, f"{prefix}{group.name} ")


def options() -> Iterator[Option]:
    """Every option of every command but flags and choices, which the parser itself checks."""
    for command, function in commands().items():
        hints = get_type_hints(function, include_extras=True)
        places = 0
        for name in inspect.signature(function).parameters:
            if get_origin(hints[name]) is not Annotated:
                continue
            annotated, info = get_args(hints[name])[:2]
            kind = _plain(annotated)
            place = None
            if isinstance(info, typer.models.ArgumentInfo):
                place, places = places, places + 1
            if kind in (int, float, str, Path) and not getattr(info, "hidden", False):
                given = [text for text in info.param_decls or () if text.startswith("--")]
                yield Option(command, given[0] if given else f"--{name.replace('_', '-')}", kind, place)


def _plain(annotated: Any) -> Any:
    """The type within `X | None` and `list[X]`."""
    while get_origin(annotated) in (UnionType, list):
        annotated = get_args(annotated)[0]
    return annotated


def call_with(option: Option, value: str) -> list[str]:
    """The command's working call with one option changed."""
    arguments = list(CALLS[option.command].arguments)
    if option.place is not None:
        arguments[option.place] = value
    elif option.name in arguments and option.name != "--set":
        arguments[arguments.index(option.name) + 1] = value
    else:
        arguments += [option.name, value]
    return [*option.command.split(), *arguments]
