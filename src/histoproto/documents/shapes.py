"""Whether what a file holds has the form that it should have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from histoproto.documents.json_file import read_json
from histoproto.errors import DocumentError, shown

T = TypeVar("T")


def read_json_as(path: Path, form: type[T]) -> T:
    """What a JSON file holds, as `form`: a pydantic model, a TypedDict, or plain types such as `dict[str, float]`.

    Raises:
        DocumentError: the file cannot be read (`read_json`), or holds something else.
    """
    return as_form(read_json(path), form, str(path))


def as_form(content: Any, form: type[T], source: str) -> T:
    """Plain values as `form`, see `read_json_as`; `source` names them in the message."""
    try:
        return TypeAdapter(form).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise DocumentError(f"{source}: {where} is missing") from error
        at = f", {where}" if where else ""
        raise DocumentError(f"{source}{at}: {first['msg']}, found {shown(first['input'])}") from error
