"""What commands share that make masks; options that are left out are those saved with the model."""

from __future__ import annotations

from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Fusion(StrEnum):
    """See `InferenceSettings.fusion`."""

    RAW = "raw"
    MINMAX = "minmax"


class Background(StrEnum):
    """See `InferenceSettings.background`."""

    NONE = "none"
    ACTIVATION = "activation"
    GLASS = "glass"


RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder of `histoproto train`, or what `export` wrote (zip, ONNX).")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")]


def run_folder(run: Path) -> Path:
    """The folder of a run, for commands that write into it: a zip is unpacked beside itself first, and stays so."""
    from histoproto.model.archive import is_archive, unpack_beside

    if not is_archive(run):
        return run
    folder, new = unpack_beside(run)
    if new:
        typer.echo(f"note: {run} is unpacked to {folder}, where results go", err=True)
    return folder


ViewsOption = Annotated[int | None, typer.Option(help="Test-time views: 1 or 6.", show_default="the model's")]
CrfOption = Annotated[bool | None, typer.Option("--crf/--no-crf", help="Refine outlines.", show_default="the model's")]
FusionOption = Annotated[Fusion | None, typer.Option(help="How scales are fused.", show_default="the model's")]
BackgroundOption = Annotated[
    Background | None, typer.Option(help="How background is found.", show_default="the model's")
]
AbstainOption = Annotated[
    float | None,
    typer.Option(min=0, max=0.99, help="Leave places uncertain whose chance is lower.", show_default="the model's: 0"),
]
FastOption = Annotated[bool, typer.Option("--fast", help="Half precision: about twice as quick, hardly other masks.")]


def given(**options: Any) -> dict[str, Any]:
    """The options that were given, as plain values."""
    return {
        name: value.value if isinstance(value, Enum) else value for name, value in options.items() if value is not None
    }
