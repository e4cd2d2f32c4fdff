"""Text from files on its way to a terminal: what a terminal would take for a command is shown, not obeyed.

An ImageDescription, the vendor in a DICOM file or a name in JSON may hold escape sequences that clear the screen,
colour a refusal green or set the title of a window. Whatever is printed goes through `printable_streams`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from typing import Any

_COMMANDS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
_TURNS = (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Change the direction of what follows, so that a name looks like another."""
_ESCAPED = {code: repr(chr(code))[1:-1] for code in (*_COMMANDS, *_TURNS)}
_STREAM = {code: text for code, text in _ESCAPED.items() if chr(code) not in "\n\t\r"}


def printable(text: str) -> str:
    """Text with its control characters spelt out.

    >>> print(printable("a" + chr(27) + "[31m" + chr(10) + "b"))
    a\\x1b[31m\\nb
    """
    return text.translate(_ESCAPED)


def one_line(text: str) -> str:
    """Text with spaces for line breaks, and other control characters spelt out.

    >>> one_line(" a" + chr(10) + "b  c")
    'a b c'
    """
    return printable(" ".join(text.split()))


def printable_lines(text: str) -> str:
    """As `printable`, with line breaks and tabs as they are."""
    return text.translate(_STREAM)


class PrintableStream(TextIOWrapper):
    """A stream of text that spells out control characters, but for line breaks and tabs."""

    def write(self, text: str) -> int:
        """See `TextIOWrapper`."""
        super().write(printable_lines(text))
        return len(text)

    @property
    def rich_proxied_file(self) -> Any:
        """Where rich writes: its colours and bars are commands, and texts in it are cleaned before."""
        return _AsItIs(self)


class _AsItIs:
    """A stream that leaves everything as it is."""

    def __init__(self, stream: PrintableStream) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return TextIOWrapper.write(self._stream, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def printable_streams() -> Iterator[None]:
    """Let stdout and stderr be `PrintableStream`s; a name that the terminal cannot show is no reason to stop."""
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            before = getattr(sys, name)
            if isinstance(before, TextIOWrapper):
                before.flush()
                stream = PrintableStream(
                    before.buffer,
                    before.encoding,
                    "backslashreplace",
                    line_buffering=before.line_buffering,
                    write_through=before.write_through,
                )
                stack.callback(_put_back, name, before, stream)
                setattr(sys, name, stream)
        yield


def _put_back(name: str, before: TextIOWrapper, stream: PrintableStream) -> None:
    setattr(sys, name, before)
    stream.detach()  # or the buffer is closed with it
