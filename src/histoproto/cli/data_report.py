"""What `histoproto data` says of a data folder and of what it cut."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from histoproto.cli.terminal import terminal
from histoproto.words import counted

if TYPE_CHECKING:
    from histoproto.data.check import DataReport
    from histoproto.data.cut import CutReport
    from histoproto.slides.patches.annotated import AnnotatedSlides


def print_cut(report: CutReport, out: Path, size: int) -> None:
    """What was cut, from the splits to what was left out."""
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)
    for split, labels in report.labels.items():
        found = ", ".join(
            f"{count} {'+'.join(name for name, there in zip(report.tissues.names, label, strict=True) if there)}"
            for label, count in labels.most_common()
        )
        typer.echo(f"{split}: {labels.total()} patch{'' if labels.total() == 1 else 'es'} ({found or 'none'})")
    for split, groups in report.groups.items():
        typer.echo(f"groups in {split}: {', '.join(groups) or 'none'}")
    if report.groups:
        typer.echo("proved from the files written: no group is on two sides")
    typer.echo(
        f"{counted(report.regions, 'region')}, {len(report.too_small)} of them smaller than {size} px and skipped; "
        f"{report.empty} patches without tissue dropped\nnext: histoproto data check {out}"
    )


def print_annotated(found: AnnotatedSlides) -> None:
    """Which slides have annotations, and which annotations are no tissue."""
    typer.echo(f"{counted(len(found.regions), 'slide')} with annotations of {', '.join(found.tissues.names)}")
    for note in found.sentences:
        typer.echo(f"note: {note}", err=True)


def print_report(report: DataReport) -> None:
    """Counts, shares and what comes together; then notes and problems."""
    from rich.table import Table

    data, console = report.data, terminal(soft_wrap=True)
    names = data.tissues.names
    console.print(f"layout: {data.layout}\ntissues: {', '.join(names)}")
    table = Table("split", "patches", "groups", "width × height")
    for split, sizes in report.sizes.items():
        patches = data.split(split)
        common = ", ".join(f"{w} × {h}" for (w, h), _ in sizes.most_common(2)) + (" …" if len(sizes) > 2 else "")
        table.add_row(split, str(len(patches)), str(len({patch.group for patch in patches})), common)
    console.print(table)
    for split, pixels in report.pixels.items():
        shares = zip((*names, "background"), pixels / pixels.sum(), strict=True)
        console.print(f"{split} masks: {', '.join(f'{name} {share:.1%}' for name, share in shares)}")
    if report.combinations:
        total = report.combinations.total()
        table = Table("train", "in all", "alone", *(f"and {name}" for name in names))
        for i, name in enumerate(names):
            row = report.cooccurrence[i]
            alone = report.combinations[tuple(int(i == j) for j in range(len(names)))]
            cells = ["" if i == j else str(count) for j, count in enumerate(row)]
            table.add_row(name, f"{row[i]} ({row[i] / total:.0%})", str(alone), *cells)
        console.print(table)
    for warning in report.warnings:
        console.print(f"note: {warning}")
    for problem in report.problems:
        console.print(f"problem: {problem}")
    if not report.problems:
        console.print("no problems found")
