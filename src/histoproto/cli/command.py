"""What all commands have in common: `-v`, examples below their help, and one sentence where a line is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperGroup

from histoproto.cli.checks import CheckedCommand
from histoproto.cli.examples import examples_of
from histoproto.cli.renamed import modern
from histoproto.cli.verbosity import with_verbose


def register(app: typer.Typer, name: str, command: Callable[..., None]) -> None:
    """Add a command to the application, or to a group of its commands; one of two words is told by its first's help."""
    app.command(name, cls=Command, hidden=" " in name)(with_verbose(command))


class Command(CheckedCommand):
    """A command with examples, that knows its old options."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """See typer."""
        super().format_help(ctx, formatter)
        formatter.write("".join(f"  {line}\n" for line in ("Examples:", *examples_of(ctx.command_path), "")))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """See typer; without the arguments that are hidden."""
        hidden = {
            each for param in self.params if getattr(param, "hidden", False) for each in param.get_usage_pieces(ctx)
        }
        return [piece for piece in super().collect_usage_pieces(ctx) if piece not in hidden]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See typer."""
        return list(super().parse_args(ctx, modern(self.name or "", args)))


class Group(TyperGroup):
    """A group of commands that names the nearest where one is mistyped, also those of groups within.

    A command may have a name of two words, the first of which is a command, too. What is wrong in a command line is an
    error like all others: a sentence, without a box or the usage around it.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """See typer."""
        with _in_a_sentence():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """See typer."""
        with _in_a_sentence():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """See typer."""
        if (two := self.get_command(ctx, " ".join(args[:2]))) is not None and len(args) > 1:
            return two.name, two, args[2:]
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            below = {name: getattr(self.get_command(ctx, name), "commands", {}) for name in self.list_commands(ctx)}
            paths = {last: f"{name} {last}" for name, inner in below.items() for last in inner}
            paths |= {name: name for name in below}
            meant = nearest(args[0], list(paths))
            hint = f"did you mean {paths[meant]}?" if meant else f"there are {', '.join(below)}"
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    from histoproto.errors import SettingError

    try:
        yield
    except Exception as error:
        # typer has click's errors under its own roof since 0.26, so they are told by what they can; the one that shows
        # the help is none.
        if not hasattr(error, "format_message") or type(error).__name__ == "NoArgsIsHelpError":
            raise
        raise SettingError(_sentence(error)) from error


def _sentence(error: Any) -> str:
    """What is wrong with a command line, and what would be right."""
    context = error.ctx
    path = context.command_path.replace("python -m ", "") if context else "histoproto"
    if type(error).__name__ == "NoSuchOption":
        params = context.command.get_params(context) if context else []
        known = [name for param in params if not getattr(param, "hidden", False) for name in param.opts]
        meant = nearest(error.option_name, [name for name in known if name.startswith("--")])
        hint = f"did you mean {meant}?" if meant else f"{path} --help lists them"
        return f"there is no option {error.option_name}; {hint}"
    said = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    return said if said.startswith("there is no") else f"{said[:1].lower()}{said[1:]}; see {path} --help"


def nearest(wrong: str, known: Sequence[str]) -> str | None:
    """The known name that is most like a wrong one; None if none is.

    >>> nearest("--ouput", ["--out", "--overlap"])
    '--out'
    >>> nearest("--prob", ["--out", "--probabilities"])
    '--probabilities'
    """
    begun = [name for name in known if name.startswith(wrong)] if len(wrong.lstrip("-")) > 1 else []
    bare = {name.lstrip("-"): name for name in known}
    close = get_close_matches(wrong.lstrip("-"), bare, n=1, cutoff=0.5)
    return begun[0] if begun else _first(bare[name] for name in close)


def _first(names: Iterable[str]) -> str | None:
    return next(iter(names), None)
