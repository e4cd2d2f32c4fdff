"""What can be wrong with a file, whatever it is; and with the values in one that holds values."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

Damage = Callable[[Path], None]


def _with(content: bytes) -> Damage:
    return lambda path: _replace(path, lambda: path.write_bytes(content)) and None  # type: ignore[func-returns-value]


def _replace(path: Path, make: Callable[[], Any]) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    make()


def _truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _scrambled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), 7):
        content[place] ^= 0x5A
    path.write_bytes(content)


def _tail(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\xff\xfe" * 3)


NO_FILE: dict[str, Damage] = {
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: _replace(path, path.mkdir),
    "a pipe": lambda path: _replace(path, lambda: os.mkfifo(path)),
    "a dead link": lambda path: _replace(path, lambda: path.symlink_to("nowhere")),
    "a loop of links": lambda path: _replace(path, lambda: path.symlink_to(path.name)),
    "a device": lambda path: _replace(path, lambda: path.symlink_to("/dev/zero")),
}
NO_CONTENT: dict[str, Damage] = {
    "empty": _with(b""),
    "cut off": _truncated,
    "scrambled": _scrambled,
    "zeros": _with(bytes(4096)),
    "a picture": _with(b"\x89PNG\r\n\x1a\n" + bytes(99)),
    "an archive": _with(b"PK\x03\x04" + bytes(99)),
    "a pickle": _with(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x04exec\x94\x93\x94."),
    "brackets": _with(b"[" * 200_000),
    "braces": _with(b'{"a":' * 100_000),
    "UTF-16 without a mark": _with('{"a": [1]}'.encode("utf-16-le")),
    "Latin-1": _with(b'{"name": "gr\xf6\xdfer"}'),
    "6000 digits": _with(b"9" * 6000),
    "a script": _with(b"#!/bin/sh\ntouch /tmp/ran\n"),
}
TEXT: dict[str, Damage] = {"a damaged end": _tail}
HUGE: dict[str, Damage] = {"a terabyte of nothing": lambda path: os.truncate(path, 1 << 30)}

VALUES: dict[str, Any] = {
    "null": None,
    "text": "x",
    "no text": "",
    "markup": "[/x][red]<script>alert(1)</script>|=1+1",
    "a line break": "a\nb\r\tc\x1b[31m",
    "-1": -1,
    "zero": 0,
    "a fraction": 0.37,
    "tiny": 1e-12,
    "huge": 1e300,
    "many": 10**30,
    "a million": 1_000_000,
    "infinite": float("inf"),
    "nan": float("nan"),
    "true": True,
    "a list": [],
    "a long list": [1] * 50,
    "a table": {},
    "a deep list": [[[[[[[[1]]]]]]]],
    "a long text": "x" * 100_000,
}


def leaves(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of nested tables and lists are; of a list, the first and the last."""
    if path:
        yield path
    if isinstance(content, dict):
        for key in content:
            yield from leaves(content[key], (*path, key))
    elif isinstance(content, list) and content:
        for index in sorted({0, len(content) - 1}):
            yield from leaves(content[index], (*path, index))


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """With another value there."""
    content = copy.deepcopy(content)
    _parent(content, path)[path[-1]] = value
    return content


def without(content: Any, path: tuple[Any, ...]) -> Any:
    """Without what is there."""
    content = copy.deepcopy(content)
    del _parent(content, path)[path[-1]]
    return content


def _parent(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        content = content[key]
    return content


def read(path: Path) -> Any:
    """A good file of values."""
    text = path.read_text()
    return yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)


def write(path: Path, content: Any) -> None:
    """As YAML or JSON, by the suffix."""
    path.write_text(yaml.safe_dump(content) if path.suffix == ".yaml" else json.dumps(content))
