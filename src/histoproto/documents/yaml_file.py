"""YAML, as plain values: text, numbers, lists and tables, and nothing else that YAML can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from histoproto.documents.content import MIB, read_text
from histoproto.errors import DocumentError, first_line

MOST = MIB // 4
"""Bytes; PyYAML needs seconds for more, and settings have a few thousand."""
DEPTH = 32


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; None if it is empty. See `parse_yaml`."""
    return parse_yaml(read_text(path, MOST), str(path))


def parse_yaml(text: str, source: str) -> Any:
    """What a YAML text holds, None if nothing; `source` names it in the message.

    Dates stay text. Aliases are refused, for a page of them can stand for more than any memory holds.

    Raises:
        DocumentError: it is no YAML, or has aliases, tags of its own, a key twice, or more than 32 levels.
    """
    if len(text) > MOST:
        raise DocumentError(f"{source} has more than {MOST // 1024} KiB, the most that is read of YAML")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise DocumentError(f"{source}{line}: {error.problem or error.context}") from error
    except RecursionError as error:
        raise DocumentError(f"{source} is nested more than {DEPTH} levels deep") from error
    except yaml.YAMLError as error:
        raise DocumentError(f"{source} cannot be read as YAML: {first_line(error)}") from error
    except Exception as error:  # conversions raise as they please
        raise DocumentError(
            f"{source}: a number is too long, or a value is not of the type that its tag (!!) says"
        ) from error


class _Loader(yaml.SafeLoader):
    """In Python, not libyaml's: that one goes down the levels of a document on the stack of C, and crashes."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases and depth before anything is made of them."""
        event = self.peek_event()
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            what = f"aliases (*{event.anchor}) are not read; write the value out"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=mark)
        self.depth += 1
        if self.depth > DEPTH:
            raise yaml.MarkedYAMLError(problem=f"more than {DEPTH} levels", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is there twice, of which the last would win without a word."""
        seen: set[Any] = set()
        for key, _ in node.value:
            value = self.construct_object(key, deep=True)
            if value.__hash__ is None or value in seen:
                what = f"the key {value!r} is there twice" if value.__hash__ else "a key must be text or a number"
                raise yaml.MarkedYAMLError(problem=what, problem_mark=key.start_mark)
            seen.add(value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        """Refuse half characters ("\\ud800"), which no file could hold again."""
        value = super().construct_scalar(node)
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise yaml.MarkedYAMLError(problem="half a character (a surrogate)", problem_mark=node.start_mark)
        return value


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
