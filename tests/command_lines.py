"""What the command line is made of, and what it makes of a line."""

from __future__ import annotations

import shlex
from typing import Any

from typer.main import get_command

from histoproto.cli.app import app


def commands() -> dict[str, Any]:
    """Every command by its path."""
    found: dict[str, Any] = {}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {each}": below for each, below in inner.items()}
    return found


COMMANDS = commands()


def parse(line: str) -> dict[str, Any]:
    """What a command line gives its command."""
    return parse_words(shlex.split(line)[1:])


def parse_words(words: list[str]) -> dict[str, Any]:
    """The same of what stands behind `histoproto`."""
    path = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    context = COMMANDS[path].make_context(path.split()[-1], words[len(path.split()) :])
    return dict(context.params)
