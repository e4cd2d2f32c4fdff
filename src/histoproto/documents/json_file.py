"""JSON, with limits that are checked before anything is built."""

from __future__ import annotations

import gc
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from histoproto.documents.content import MIB, as_text, read_bytes
from histoproto.errors import DocumentError

DEPTH = 64
MEMORY = 2 << 30
"""Bytes that the values of a file may take in memory, as far as that can be told from its punctuation."""
_COSTS = {b"[": 72, b"{": 232, b",": 32, b'"': 28}
"""Bytes of an empty list and a small table, a number and its place in a list, half of a short text, in CPython."""
_DIGITS = bytes(byte in b"0123456789" for byte in range(256))
_EXPONENT = re.compile(rb"[eE]\+?\d{3}")


def read_json(path: Path, most: int = 16 * MIB, unpack: bool = False, lenient: bool = False) -> Any:
    """What a JSON file holds.

    Args:
        path: of the file.
        most: bytes it may have.
        unpack: whether it may be compressed with gzip.
        lenient: whether NaN and Infinity are taken as numbers, and the last of two values of one name, as other
            programs write them; twice as fast.

    Raises:
        DocumentError: it cannot be read, is no JSON (NaN and Infinity are none), a name is twice in an object, a
            number is too large for a computer, it has more than 64 levels, or would take more than 2 GiB of memory.
    """
    return parse_json(read_bytes(path, most, unpack), str(path), lenient)


def parse_json(content: bytes, source: str, lenient: bool = False) -> Any:
    """As `read_json`, from bytes; `source` names them in the message."""
    text = as_text(content, source)
    content = text.encode()
    need = sum(cost * content.count(sign) for sign, cost in _COSTS.items())
    if need > MEMORY:
        raise DocumentError(f"{source} would take about {need / 2**30:.0f} GiB of memory; split it into smaller files")
    if _depth(np.frombuffer(content.translate(None, _NO_BRACKETS), np.uint8)) > DEPTH:
        raise DocumentError(f"{source} is nested more than {DEPTH} levels deep")
    # Calling back for each number is slow, so it is done only where there is one that could be too large.
    huge = b"\1" * 300 in content.translate(_DIGITS) or _EXPONENT.search(content) is not None
    try:
        with collection_paused():
            value = json.loads(
                text,
                object_pairs_hook=None if lenient else _object,
                parse_constant=None if lenient else _no_constant,
                parse_float=_finite if huge else None,
                parse_int=_bounded if huge else None,
            )
        if "\\u" in text and re.search(r"\\u[dD][89a-fA-F]", text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise DocumentError(f"{source}, line {error.lineno}: {error.msg}, so it is no JSON") from error
    except UnicodeEncodeError as error:
        raise DocumentError(f"{source} holds half a character (\\ud800 … \\udfff)") from error
    except ValueError as error:
        raise DocumentError(f"{source}: {error}") from error
    return value


@contextmanager
def collection_paused() -> Iterator[None]:
    """No garbage is looked for: among millions of new values that takes longer than making them, and finds nothing."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


_NO_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))


def _depth(brackets: np.ndarray[Any, np.dtype[np.uint8]]) -> int:
    """The deepest level; brackets within texts count, too, which only ever makes it too careful."""
    deepest = level = 0
    for start in range(0, len(brackets), MIB):
        block = brackets[start : start + MIB]
        steps = np.where((block == ord("[")) | (block == ord("{")), 1, -1).astype(np.int32)
        levels = level + np.cumsum(steps)
        deepest, level = max(deepest, int(levels.max())), int(levels[-1])
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} is there twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _bounded(text: str) -> int:
    if len(text) > 300:
        raise ValueError(f"the number {text[:20]}… has {len(text)} digits")
    return int(text)
