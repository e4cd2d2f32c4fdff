"""`histoproto evaluate`: scores of a trained model on masked patches, each with its protocol."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histoproto.cli.inference_options import Background, DeviceOption, Fusion, RunArgument, given, run_folder
from histoproto.cli.terminal import progress_bars, terminal
from histoproto.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from histoproto.evaluation.protocols import Protocol


class Labels(StrEnum):
    """See `Protocol.labels`."""

    PREDICTED = "predicted"
    ORACLE = "oracle"


class Treatment(StrEnum):
    """See `Protocol.background`."""

    IGNORED = "ignored"
    COUNTED = "counted"


class Part(StrEnum):
    """Splits of a data folder."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def evaluate(
    run: RunArgument,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data folder with masks.")],
    protocol: Annotated[str, typer.Option(help="honest, told, paper or all.")] = "honest",
    split: Annotated[Part, typer.Option(help="Which patches.")] = Part.TEST,
    labels: Annotated[Labels | None, typer.Option(help="Tissues a mask may show.", show_default="protocol's")] = None,
    score_background: Annotated[
        Treatment | None, typer.Option(help="Pixels of true background.", show_default="protocol's")
    ] = None,
    views: Annotated[int | None, typer.Option(help="Test-time views: 1 or 6.", show_default="protocol's")] = None,
    crf: Annotated[bool | None, typer.Option("--crf/--no-crf", help="Refine outlines.", show_default="protocol's")] = (
        None
    ),
    fusion: Annotated[
        Fusion | None, typer.Option(help="How scales are fused.", show_default="protocol's; or else the model's")
    ] = None,
    background: Annotated[
        Background | None, typer.Option(help="How background is found.", show_default="protocol's")
    ] = None,
    per_group: Annotated[bool, typer.Option("--per-group", help="Also keep a confusion matrix per region.")] = False,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Go on although patches or groups were trained on; recorded.")
    ] = False,
    maps: Annotated[
        bool,
        typer.Option("--maps", help="Score whole images or slides, as maps: img/ and mask/, or slides with .geojson."),
    ] = False,
    mpp: Annotated[
        float | None,
        typer.Option(min=1e-3, help="With --maps: µm/px of the images.", show_default="what their files say"),
    ] = None,
    model_mpp: Annotated[
        float | None, typer.Option(min=1e-3, help="With --maps: µm/px of the model.", show_default="what its card says")
    ] = None,
    distance: Annotated[float, typer.Option(min=0.1, help="With --maps: band of the boundary IoU, in µm.")] = 10.0,
    device: DeviceOption = "auto",
) -> None:
    """Score a model and add the numbers to RUN/metrics.json.

    `honest` is what to expect on new images: the classifier decides which tissues a mask may show, background is left
    out, one view, no CRF. `told` is an upper bound: the same, told which tissues the true mask has. `paper` is as LPD
    and PBIP report: told, background counted, six views, CRF. The other options change one part of a protocol.

    `--maps` scores what `segment` makes of whole regions or slides, and adds the numbers to RUN/maps.json.

    Here alone, what makes masks comes from the protocol and not from the model, so that scores of different models can
    be compared.
    """
    from histoproto.errors import SettingError
    from histoproto.evaluation.protocols import PROTOCOLS, PURPOSES, find_protocol
    from histoproto.evaluation.protocols import evaluate as measure

    run = run_folder(run)
    changes = given(
        labels=labels, background=score_background, views=views, crf=crf, fusion=fusion, find_background=background
    )
    protocols = [replace(find_protocol(name), **changes) for name in (PROTOCOLS if protocol == "all" else [protocol])]
    if (per_group or split is not Part.TEST) if maps else mpp or model_mpp:
        raise SettingError("--per-group and --split are for patches; --mpp and --model-mpp for --maps")
    if maps:
        _evaluate_maps(run, data, protocols, mpp, model_mpp, distance, device, allow_leak)
        return
    with progress_bars() as bar:
        tasks = {one.name: bar.add_task(one.name, total=None) for one in protocols}
        results = measure(
            run,
            data,
            protocols,
            split.value,
            device,
            per_group,
            lambda name, done, total: bar.update(tasks[name], completed=done, total=total),
            allow_leak=allow_leak,
        )
    for leak in next(iter(results.values()))["data"].get("leaks", ()):
        typer.echo(f"note: {leak}; these scores say nothing about new patients", err=True)
    for name, result in results.items():
        terminal().print(score_table(name, result))
        if name in PURPOSES:
            typer.echo(f"{name}: {PURPOSES[name]}\n")
    typer.echo(f"written: {run / 'metrics.json'}")


def _evaluate_maps(
    run: Path,
    data: Path,
    protocols: Sequence[Protocol],
    mpp: float | None,
    model_mpp: float | None,
    distance: float,
    device: str,
    allow_leak: bool,
) -> None:
    from rich.markup import escape
    from rich.table import Table

    from histoproto.slides.options import SlideOptions
    from histoproto.slides.scoring import MAPS_FILE, evaluate_maps

    for protocol in protocols:
        with progress_bars() as bar:
            task = bar.add_task(protocol.name, total=None)
            result = evaluate_maps(
                run,
                data,
                protocol,
                SlideOptions(model_mpp=model_mpp),
                mpp,
                distance,
                device,
                lambda done, total, task=task: bar.update(task, completed=done, total=total),  # type: ignore[misc]
                allow_leak,
            )
        for leak in result["data"].get("leaks", ()):
            typer.echo(f"note: {leak}; these scores say nothing about new patients", err=True)
        for note in result["data"]["notes"] if protocol is protocols[0] else ():
            typer.echo(f"note: {note}", err=True)
        names = list(result["pooled"]["tissues"])
        slides = counted(result["data"]["slides"], "slide")
        table = Table(title=f"{protocol.name}: maps of {escape(str(data))}, {slides}, scores in %")
        table.add_column("slide")
        for column in ("pixels", *(f"{name} IoU" for name in names), "mIoU", f"boundary IoU at {distance:g} µm"):
            table.add_column(column, justify="right")
        for name, row in [*result["slides"].items(), ("pooled", result["pooled"])]:
            ious = (percent(row["tissues"][tissue]["iou"]) for tissue in names)
            table.add_row(escape(name), f"{row['pixels']:,}", *ious, percent(row["miou"]), percent(row["boundary_iou"]))
        found = result["pooled"]["calibration"]
        table.caption = (
            f"expected calibration error {percent(found['error'])} %; doubtful {percent(found['doubtful'])} % of the "
            f"pixels; the most doubtful tenth holds {percent(found['errors_in_doubtful_tenth'])} % of the errors"
        )
        terminal().print(table)
    typer.echo(f"written: {run / MAPS_FILE}")


def score_table(name: str, result: dict[str, Any]) -> Table:
    """A result as a table: one row per tissue, the means below, the protocol above."""
    from rich.table import Table

    how, data, scores = result["protocol"], result["data"], result["scores"]
    refined = "CRF" if how["crf"] else "no CRF"
    title = (
        f"{name}: {how['labels']} labels, background {how['background']} (found by {how['find_background']}), "
        f"{counted(how['views'], 'view')}, {refined}, {how['fusion']} fusion\n"
        f"{counted(data['patches'], data['split'] + ' patch', 'es')} of {data['folder']}, scores in %"
    )
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("tissue")
    for column in ("pixels", "IoU", "Dice", "boundary IoU", "AP", "F1"):
        table.add_column(column, justify="right")
    held = sum(tissue["pixels"] for tissue in result["tissues"].values())
    for tissue, row in result["tissues"].items():
        keys = ("iou", "dice", "boundary_iou", "average_precision", "f1")
        table.add_row(tissue, percent(row["pixels"] / held if held else None), *(percent(row[key]) for key in keys))
    table.add_section()
    classifier = result["classifier"]
    means = (scores["miou"], scores["mdice"], scores["boundary_iou"])
    table.add_row(
        "mean", "", *map(percent, means), percent(classifier["mean_average_precision"]), percent(classifier["mean_f1"])
    )
    table.caption = (
        f"FwIoU {percent(scores['fwiou'])}, pixel accuracy {percent(scores['pixel_accuracy'])}, pixels given to a "
        f"tissue that is not in the patch {percent(scores['mislabelled'])}; AP and F1: image-level classifier"
    )
    if found := result.get("calibration"):
        table.caption += (
            f"\nexpected calibration error {percent(found['error_before'])} % before calibration, "
            f"{percent(found['error'])} % after; doubtful {percent(found['doubtful'])} % of the pixels; "
            f"the most doubtful tenth holds {percent(found['errors_in_doubtful_tenth'])} % of the errors"
        )
    return table


def percent(value: float | None) -> str:
    """A fraction in percent, or a dash."""
    return "–" if value is None else f"{100 * value:.1f}"
