"""`histoproto export`: a trained model for other software."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """See `export_model`."""

    ONNX = "onnx"
    TORCH_EXPORT = "torch-export"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `histoproto train`.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="Folder for the model and its card.")],
    format: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.ONNX,
) -> None:
    """Write a model for other software: ONNX, or a program of torch.export, each with its model.json.

    `predict` and `evaluate` take a folder with an ONNX model as they take a run.
    """
    from histoproto.inference.export import export_model

    typer.echo(f"written: {export_model(run, out, format.value)}, {out / 'model.json'}")
