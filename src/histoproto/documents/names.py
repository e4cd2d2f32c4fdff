"""Which names can be written wherever names are written: files, tables, pages, terminals."""

from __future__ import annotations

import unicodedata

from histoproto.errors import SettingError

LONGEST_NAME = 255
"""Bytes; of all common file systems."""


def check_name(name: str, what: str) -> None:
    """Refuse the name of a file, or a path, that cannot be written wherever names are written, or is too long.

    Raises:
        SettingError: see `check_text`; or a part of it has more bytes than the name of a file may have.
    """
    check_text(name, what)
    if any(len(part.encode()) > LONGEST_NAME for part in name.split("/")):
        raise SettingError(
            f"{what} is {name[:40]!r} …, longer than the {LONGEST_NAME} bytes that a file's name may have"
        )


def check_text(text: str, what: str) -> None:
    """Refuse a name that cannot be written wherever names are written: files, tables, pages, terminals.

    Args:
        text: the name of a class, a slide, a column …
        what: names it in the message.

    Raises:
        SettingError: it is not UTF-8, or holds line breaks or other control characters.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise SettingError(f"{what} is {text[:80]!a}, which is not UTF-8; rename it")
    if odd := [letter for letter in text if unicodedata.category(letter) in ("Cc", "Zl", "Zp")]:
        raise SettingError(f"{what} is {text[:80]!a}, which holds the control character {odd[0]!a}; rename it")
