"""`-v`: what the command does, on stderr, and the trace of an error beside its sentence."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Annotated, Any

import typer

_log = logging.getLogger("histoproto")

VerboseOption = Annotated[
    bool, typer.Option("-v", "--verbose", help="Say on stderr what is done; show the trace of an error.")
]


def with_verbose(command: Callable[..., None]) -> Callable[..., None]:
    """The command with one more option, `-v`."""

    @functools.wraps(command)
    def called(*args: Any, verbose: bool = False, **kwargs: Any) -> None:
        set_verbose(verbose)
        command(*args, **kwargs)

    signature = inspect.signature(command, eval_str=True)
    option = inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=VerboseOption)
    called.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    called.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    called.__annotations__["verbose"] = VerboseOption
    return called


def set_verbose(verbose: bool) -> None:
    """Let our own loggers speak; warnings of all others are heard either way. Said once, it stays."""
    if verbose and not is_verbose():
        logging.basicConfig(format="%(asctime)s %(levelname).1s %(name)s: %(message)s", datefmt="%H:%M:%S")
        _log.setLevel(logging.DEBUG)


def is_verbose() -> bool:
    """Whether `-v` was given."""
    return _log.isEnabledFor(logging.DEBUG)
