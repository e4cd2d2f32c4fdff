"""`histoproto export`: a trained model for other software and other people."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histoproto.cli.inference_options import RunArgument

if TYPE_CHECKING:
    from histoproto.inference.export import Format as Exported


class Format(StrEnum):
    """See `export_model` and `write_archive`."""

    ONNX = "onnx"
    TORCH_EXPORT = "torch-export"
    ZIP = "zip"


def export(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="OUT", help="Folder for the model and its card; of a zip, the file.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.ONNX,
    push: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Push the model to the Hugging Face hub.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everyone see what is pushed, if it is new there.")] = (
        False
    ),
) -> None:
    """Write a model for other software: ONNX, or a program of torch.export, each with its model.json.

    Or hand it on: a zip (weights, card, licence), or a push to a model hub. Every command that takes a run takes the
    zip, and `predict` and `evaluate` a folder with an ONNX model.
    """
    from histoproto.errors import SettingError

    if (out is None) == (push is None):
        raise SettingError("say where the model goes: --out OUT, or --push OWNER/NAME")
    if push is not None:
        from histoproto.model.publishing import push as push_model

        typer.echo(f"pushed: {push_model(run, push, public)}")
        return
    assert out is not None
    if format is Format.ZIP:
        from histoproto.model.archive import write_archive

        file = out if out.suffix == ".zip" else out / "model.zip"
        typer.echo(f"written: {write_archive(run, file)}\nnext: histoproto segment {file} SLIDES --out OUT")
        return
    from histoproto.inference.export import export_model

    kind: Exported = "onnx" if format is Format.ONNX else "torch-export"
    typer.echo(f"written: {export_model(run, out, kind)}, {out / 'model.json'}")
