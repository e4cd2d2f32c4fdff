"""`histoproto segment`: tissue maps, outlines and areas of whole slides."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histoproto.cli.inference_options import (
    AbstainOption,
    BackgroundOption,
    CrfOption,
    DeviceOption,
    FastOption,
    FusionOption,
    RunArgument,
    ViewsOption,
    given,
)
from histoproto.cli.slide_options import ImageOption
from histoproto.cli.terminal import progress_bars, terminal
from histoproto.words import counted, listed

if TYPE_CHECKING:
    from histoproto.slides.many.folders import LeftOut
    from histoproto.slides.options import SlideOptions
    from histoproto.slides.task import SlideTask

PRINTED = 30
"""Slides whose areas are printed; those of all are in summary.csv."""


class Engine(StrEnum):
    """What runs the workers."""

    LOCAL = "local"
    RAY = "ray"


def segment(
    run: RunArgument,
    slides: Annotated[
        list[Path],
        typer.Argument(
            metavar="SLIDES", help="Slides, folders or patterns of them, or CSV tables: slide, mpp, region, image."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="Where NAME/ of each slide and the summary go.")],
    mpp: Annotated[
        float | None, typer.Option(min=1e-3, help="µm/px of the slides.", show_default="what their files say")
    ] = None,
    image: ImageOption = None,
    model_mpp: Annotated[
        float | None, typer.Option(min=1e-3, help="µm/px of the model.", show_default="what its card says")
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="What of the slides: GeoJSON of QuPath or a mask image, or a folder of them.",
            show_default="their tissue",
        ),
    ] = None,
    views: ViewsOption = None,
    crf: CrfOption = None,
    fusion: FusionOption = None,
    background: BackgroundOption = None,
    abstain: AbstainOption = None,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write uncertainty.zarr and .ome.tif: doubt and strangeness.")
    ] = False,
    overlap: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.9,
            help="Of neighbouring windows. 0.5: a quarter of the time, as right, but more of where windows fall shows.",
            show_default="0.75",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Windows in the network at once.", show_default="8, on a GPU 64")
    ] = None,
    min_area: Annotated[
        float | None, typer.Option(min=0, help="Of a region or hole in µm²; 0: every pixel.", show_default="100")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Of outlines, in µm; 0: exact.", show_default="a pixel of the map")
    ] = None,
    gzip: Annotated[bool, typer.Option("--gzip", help="Write tissue.geojson.gz.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write probabilities.zarr.")] = False,
    spatialdata: Annotated[
        bool, typer.Option("--spatialdata", help="Also write spatialdata.zarr, for spatial omics.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the work.", show_default="1; with Ray one per GPU")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="This machine, or a Ray cluster.")] = Engine.LOCAL,
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster: HOST:PORT, or auto.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done: windows, disk, minutes.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Only slides that failed before.")] = False,
    device: DeviceOption = "auto",
    fast: FastOption = False,
) -> None:
    """Segment whole slides: a tissue map and outlines that open in QuPath, areas, and a picture to look at.

    Finished slides are skipped, so that the same command goes on where it was stopped; several machines may share OUT.
    Where no bar can be drawn, as in a log, a line every few seconds says how far a slide is.
    """
    from rich.progress import TaskID

    from histoproto.errors import DataError
    from histoproto.slides.many.batch import segment_slides
    from histoproto.slides.many.folders import LeftOut
    from histoproto.slides.many.job import Outcome
    from histoproto.slides.many.progress import ProgressLines
    from histoproto.slides.many.tasks import find_slides
    from histoproto.slides.options import SlideOptions

    left_out = LeftOut()
    tasks = find_slides(slides, mpp, regions, left_out, image)
    options = SlideOptions(
        model_mpp=model_mpp,
        gzip=gzip,
        probabilities=probabilities,
        spatialdata=spatialdata,
        uncertainty=uncertainty,
        fast=fast,
        **given(
            abstain=abstain,
            views=views,
            crf=crf,
            fusion=fusion,
            background=background,
            overlap=overlap,
            batch_size=batch_size,
            min_area_um2=min_area,
            tolerance_um=tolerance,
        ),
    )
    if dry_run:
        _rehearse(run, tasks, out, options, workers, device, left_out, retry_failed)
        return
    with progress_bars() as bar:
        everything = bar.add_task("slides", total=len(tasks))
        in_hand: dict[str, TaskID] = {}
        lines = None if bar.console.is_terminal else ProgressLines(partial(typer.echo, err=True), len(tasks))

        def tiles(name: str, done: int, total: int) -> None:
            if lines:
                lines.tiles(name, done, total)
            if name not in in_hand:
                in_hand[name] = bar.add_task(f"  {name}")
            bar.update(in_hand[name], completed=done, total=total)

        def slide(outcome: Outcome, done: int, total: int) -> None:
            bar.update(everything, completed=done, total=total)
            if lines:
                lines.slide(outcome.job.name, done)
            if outcome.job.name in in_hand:
                bar.remove_task(in_hand.pop(outcome.job.name))

        report = segment_slides(
            run,
            tasks,
            out,
            options,
            workers=workers,
            engine=engine.value,
            address=address,
            device=device,
            tiles=tiles,
            slides=slide,
            retry_failed=retry_failed,
            left_out=left_out.notes,
        )
    _print_areas(report.names("done", "finished"), out)
    finished, failed = len(report.names("finished")), len(report.failed)
    done = f"{counted(len(report.names('done')), 'slide')} segmented, {finished} were finished before, {failed} failed"
    typer.echo(f"{done}{f', {left_out.count} left out' if left_out.count else ''}: {out}")
    for note in (*left_out.notes, *report.broken):
        typer.echo(f"note: {note}", err=True)
    if report.outdated:
        outdated = ", ".join(report.outdated[:5]) + (" …" if len(report.outdated) > 5 else "")
        typer.echo(
            f"note: done before with other settings, another model or from another file, and left so: {outdated}; "
            "remove their folders, or choose another --out, to do them again",
            err=True,
        )
    by_note: dict[str, list[str]] = {}
    for outcome in report.outcomes:
        for note in outcome.notes:
            by_note.setdefault(note, []).append(outcome.job.name)
    for note, names in by_note.items():
        typer.echo(f"note: {listed(names)}: {note}", err=True)
    for outcome in report.failed:
        typer.echo(f"failed: {outcome.sentence}\n{outcome.trace}".rstrip(), err=True)
    if failed:
        raise DataError(f"{failed} of {counted(len(tasks), 'slide')} failed, for the reasons above")


def _rehearse(
    run: Path,
    tasks: list[SlideTask],
    out: Path,
    options: SlideOptions,
    workers: int | None,
    device: str,
    left_out: LeftOut,
    retry_failed: bool,
) -> None:
    from rich.table import Table
    from rich.text import Text

    from histoproto.inference.segmenter import Segmenter
    from histoproto.slides.export.summary import has_failed
    from histoproto.slides.many.rehearsal import rehearse, seconds_per_window

    segmenter = Segmenter.load(run, device, options.fast)
    found = rehearse(segmenter, tasks, out, options)
    if retry_failed:
        found = [one for one in found if one.state != "finished" and has_failed(out, one.name)]
    table = Table("slide", "would be", "windows", "GB, at least")
    for one in found[:PRINTED]:
        state = {"to do": "done", "finished": "skipped, finished before", "failed": "failed"}[one.state]
        numbers = (f"{one.windows:,}", f"{one.bytes / 1e9:.2f}") if one.state == "to do" else ("", "")
        table.add_row(Text(one.name), state, *numbers)
    terminal(soft_wrap=True).print(table)
    if len(found) > PRINTED:
        typer.echo(f"… and {len(found) - PRINTED} more")
    windows, needed = sum(one.windows for one in found), sum(one.bytes for one in found)
    minutes = windows * seconds_per_window(segmenter, options) / 60
    counts = {state: sum(one.state == state for one in found) for state in ("to do", "finished", "failed")}
    typer.echo(
        f"{counted(counts['to do'], 'slide')} to do, {counts['finished']} finished before, "
        f"{counts['failed']} would fail, {left_out.count} left out; {windows:,} windows, at least "
        f"{needed / 1e9:.2f} GB, about {minutes:.1f} minutes "
        f"in the network of one process here{f' (of {workers})' if workers else ''}; nothing was written"
    )
    for note in left_out.notes:
        typer.echo(f"note: {note}", err=True)
    for one in found:
        for note in one.notes:
            typer.echo(f"note: {one.name}: {note}", err=True)
        if one.sentence:
            typer.echo(f"would fail: {one.sentence}", err=True)


def _print_areas(names: list[str], out: Path) -> None:
    from rich.table import Table

    from histoproto.slides.export.areas import BACKGROUND, read_areas

    areas = {name: read_areas(out / name / "areas.csv", regions=False) for name in names[:PRINTED]}
    tissues = list(dict.fromkeys(row.tissue for rows in areas.values() for row in rows if row.tissue != BACKGROUND))
    table = Table("slide", *(f"{tissue} mm²" for tissue in tissues))
    for name, rows in areas.items():
        found = {row.tissue: f"{row.mm2:.2f} ({row.percent:.0f} %)" if row.pixels else "–" for row in rows}
        table.add_row(name, *(found.get(tissue, "") for tissue in tissues))
    if names:
        terminal(soft_wrap=True).print(table)
    if len(names) > PRINTED:
        typer.echo(f"… and {len(names) - PRINTED} more: {out / 'summary.csv'}")
