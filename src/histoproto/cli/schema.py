"""`histoproto schema`: what may stand in config.yaml and model.json, as JSON Schema."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Kind(StrEnum):
    """Which file."""

    CONFIG = "config"
    MODEL = "model"


def schema(
    kind: Annotated[Kind, typer.Argument(metavar="config|model", help="Of config.yaml, or of model.json.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="OUT", help="File to write.", show_default="print")
    ] = None,
) -> None:
    """Print the JSON Schema of a run's config.yaml or of model.json, for editors and other software."""
    text = json.dumps(make_schema(kind), indent=2, ensure_ascii=False)
    if out is None:
        typer.echo(text)
        return
    from histoproto.files import replace_atomically

    with replace_atomically(out) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    typer.echo(f"written: {out}")


def make_schema(kind: Kind) -> dict[str, Any]:
    """The schema, made from the classes that read the file."""
    from histoproto.config import Settings
    from histoproto.model.saving import ModelCard

    model = Settings if kind is Kind.CONFIG else ModelCard
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_standard(model.model_json_schema())}


_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def _standard(schema: Any) -> Any:
    """With the standard's names for bounds, which pydantic leaves as its own behind a validator of ours."""
    if isinstance(schema, list):
        return [_standard(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    bounded = schema.get("type") in {"integer", "number"}
    return {_BOUNDS.get(key, key) if bounded else key: _standard(value) for key, value in schema.items()}
