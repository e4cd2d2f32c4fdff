"""Text within Markdown."""

from __future__ import annotations

import re

_SIGNS = re.compile(r"([\\`*_\[\]<>|&~#!$])")


def plain(text: str) -> str:
    """Text that Markdown shows as it is: its signs are escaped, line breaks are blanks.

    >>> plain("[x](y) | a_b <i>")
    '\\\\[x\\\\](y) \\\\| a\\\\_b \\\\<i\\\\>'
    """
    return _SIGNS.sub(r"\\\1", " ".join(text.split()))
