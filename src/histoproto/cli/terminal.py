"""The terminal, to which no text of a user's is ever markup: a tissue may be called `[/x]`, a slide `[red]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def terminal(stderr: bool = False, soft_wrap: bool = False) -> Console:
    """A console that prints texts and tables as they are."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False)


def progress_bars() -> Progress:
    """Bars on stderr that go away at the end, for any number of tasks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    name = TextColumn("{task.description}", markup=False)
    return Progress(
        name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=terminal(stderr=True), transient=True
    )
