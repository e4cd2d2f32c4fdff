"""`histoproto studio`: from a folder of slides to tissue maps in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from histoproto.words import counted


def studio(
    slides: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SLIDES…", help="Slides, folders or patterns; none: those of the project."),
    ] = None,
    project: Annotated[Path, typer.Option("--project", metavar="DIR", help="Folder of the project.")] = Path("studio"),
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0: any free one.")] = 0,
    host: Annotated[str, typer.Option("--host", metavar="H", help="Address to listen on.")] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    demo: Annotated[bool, typer.Option("--demo", help="Paint a synthetic slide and begin a project on it.")] = False,
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            "--labels", metavar="PATH", help="Labels to take over: labels.csv, or GeoJSON of QuPath. May be repeated."
        ),
    ] = None,
    mpp: Annotated[
        float | None,
        typer.Option("--mpp", metavar="X", min=0.01, max=50, help="µm/px of slides whose file does not say it."),
    ] = None,
) -> None:
    """Label tiles of slides in a browser, see the map within minutes, correct it, and be told what to label next.

    Everything stays on this machine. Labels are saved when the key is pressed; Ctrl-C ends the studio.
    `histoproto studio merge` joins the labels of two projects.
    """
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        from histoproto.errors import SettingError

        raise SettingError(f"the studio needs the package {error.name}; pip install 'histoproto[studio]'") from error
    del starlette, uvicorn
    from histoproto.errors import DataError
    from histoproto.studio.project import PROJECT_FILE, ProjectSettings
    from histoproto.studio.serve import DEMO_TISSUES_MPP, make_demo, serve
    from histoproto.studio.session import Session
    from histoproto.studio.sources import find_sources
    from histoproto.studio.taking_over import settings_from

    for path in labels or ():
        if not (path.is_file() or path.is_dir()):
            raise DataError(f"there are no labels {path}; expected labels.csv, a GeoJSON file, or a folder with one")
    settings = None
    there = (project / PROJECT_FILE).is_file()
    if demo:
        from histoproto.data.phantom import TISSUES

        typer.echo("a synthetic slide is painted, unless it is there …", err=True)
        slide = make_demo(project.with_name(f"{project.name}-demo"))
        session = Session(project, find_sources([slide]))
        settings = ProjectSettings.of(TISSUES.names, mpp=DEMO_TISSUES_MPP)
    else:
        if not slides and not there:
            raise DataError(f"{project} is no project yet; name the slides to begin one, or try --demo")
        tables = [path for path in labels or () if path.suffix == ".csv" or (path / "labels.csv").is_file()]
        if tables and not there:
            settings = settings_from(tables[0], mpp)
        tasks = find_sources(slides, mpp) if slides else []
        session = Session(project, tasks, labels or [], told=lambda line: typer.echo(f"note: {line}", err=True))
    serve(session, host, port, lambda address: typer.echo(f"the studio is at {address}"), browser, settings)
    typer.echo("the studio is closed; all labels are saved")


def merge(
    one: Annotated[Path, typer.Argument(metavar="A", help="A project.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another one with the same tissues, scale and tiles.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="Folder of the project to make.")],
) -> None:
    """Join the labels of two projects in a new one. Where they differ both are kept, and the later one stands."""
    from histoproto.studio.merging import merge_projects

    merged = merge_projects(one, other, out)
    typer.echo(f"{out}: {counted(merged.tiles, 'tile')} with a label, {counted(merged.events, 'event')}")
    if merged.conflicts:
        typer.echo(
            f"note: labelled differently in {one} and {other}: {counted(merged.conflicts, 'tile')}; both "
            "labels are kept, the later one stands",
            err=True,
        )
