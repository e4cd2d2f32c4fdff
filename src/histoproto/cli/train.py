"""`histoproto train`: from a data folder to a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def train(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Data folder; `histoproto data check DATA` describes it.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to write.")],
    method: Annotated[str | None, typer.Option(help="Method to train.", show_default="lpd")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings in YAML, e.g. a run's config.yaml.")] = (
        None
    ),
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; may be given many times.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.", show_default="0")] = None,
    second_stage: Annotated[
        bool, typer.Option("--second-stage", help="Then train a segmentation network on the masks it finds.")
    ] = False,
    first_stage: Annotated[
        Path | None,
        typer.Option(metavar="RUN1", help="A finished run of the same settings, in place of training it again."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from RUN's last checkpoint, with its settings.")] = (
        False
    ),
    with_encoder: Annotated[
        bool, typer.Option("--with-encoder", help="Hold the weights of an encoder that is not tuned in RUN as well.")
    ] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html at the end.")] = True,
) -> None:
    """Train a model on image-level labels.

    Settings come from the defaults, then --config, then --set, e.g. --set model.prototypes=3 --set training.epochs=10.
    """
    from histoproto.config import load_settings
    from histoproto.methods.registry import PRESETS

    named = {"method": method, "seed": seed}
    # JSON is YAML: quoting keeps a method called `null` or `1e3` a name.
    given = [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None] + (overrides or [])
    if second_stage or first_stage is not None:
        given.append("training.second_stage=true")
    if with_encoder:
        given.append("training.with_encoder=true")
    # Without a word about settings, a resumed run has those it was started with.
    settings = load_settings(config, given, PRESETS) if given or config or not resume else None

    # Only now, so that a mistyped setting is answered at once.
    from lightning.pytorch.utilities import rank_zero_only

    from histoproto.report.html import write_report
    from histoproto.training.run import train as run

    folder = run(data, out, settings, resume=resume, first_stage=first_stage)
    if rank_zero_only.rank == 0:
        written = write_report(folder, data) if report else folder
        typer.echo(f"written: {written}\nnext: histoproto evaluate {folder} {data}")
