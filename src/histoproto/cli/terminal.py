"""The terminal, to which no text of a user's is ever markup: a tissue may be called `[/x]`, a slide `[red]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def terminal(stderr: bool = False, soft_wrap: bool = False) -> Console:
    """A console that prints texts and tables as they are, control characters spelt out."""
    from rich.console import Console
    from rich.segment import Segment

    from histoproto.printable import printable_lines

    class Plain(Console):
        def render(self, *args: Any, **kwargs: Any) -> Iterator[Segment]:
            for piece in super().render(*args, **kwargs):
                yield piece if piece.control else Segment(printable_lines(piece.text), piece.style)

    return Plain(stderr=stderr, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False)


def progress_bars() -> Progress:
    """Bars on stderr that go away at the end, for any number of tasks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    name = TextColumn("{task.description}", markup=False)
    return Progress(
        name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=terminal(stderr=True), transient=True
    )
