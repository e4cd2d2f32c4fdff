"""`histoproto data`: look at a data folder, cut one out of annotated regions, or draw a synthetic one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histoproto.cli.command import Group, register
from histoproto.cli.data_report import print_annotated, print_cut, print_report
from histoproto.cli.renamed import OldOut, chosen_out
from histoproto.cli.slide_options import ImageOption
from histoproto.cli.terminal import progress_bars
from histoproto.words import counted

if TYPE_CHECKING:
    from histoproto.tissue import TissueSet


def check(folder: Annotated[Path, typer.Argument(metavar="DATA", help="Data folder.")]) -> None:
    """Say what a data folder holds, what its labels cannot teach, and everything that is wrong with it."""
    from histoproto.data.check import check_data
    from histoproto.errors import DataError

    report = check_data(folder)
    print_report(report)
    if report.problems:
        raise DataError(
            f"{folder}: {counted(len(report.problems), 'problem')}, listed above; training refuses such a folder"
        )


def cut(
    regions: Annotated[
        Path,
        typer.Argument(
            metavar="REGIONS", help="Folder with img/, mask/ and classes.yaml; or slides with NAME.geojson of QuPath."
        ),
    ],
    old_out: OldOut = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="OUT", help="Data folder to write, or to add a split to.")
    ] = None,
    size: Annotated[int, typer.Option(help="Side of a patch in pixels.")] = 224,
    size_um: Annotated[float | None, typer.Option(help="Side of a patch in µm instead; needs µm/px.")] = None,
    stride: Annotated[int | None, typer.Option(help="Step between patches.", show_default="the size")] = None,
    test_stride: Annotated[
        int | None, typer.Option(help="Step in val and test of a split by group.", show_default="the size")
    ] = None,
    min_fraction: Annotated[float, typer.Option(help="Fraction of a patch from which a tissue is present.")] = 0.05,
    train_masks: Annotated[
        bool, typer.Option("--train-masks", help="Also write train/mask/, for full supervision (the ceiling).")
    ] = False,
    region_mpp: Annotated[
        float | None, typer.Option(help="Scale of the regions in µm/px.", show_default="what a slide's file says")
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="Scale of the patches in µm/px; slides need it.", show_default="as is")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Slides: the GeoJSON files.", show_default="beside the slides")
    ] = None,
    image: ImageOption = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,…|YAML", help="Slides: the tissues.", show_default="all that were drawn"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Where all regions go: train, val or test.", show_default="train")
    ] = None,
    groups: Annotated[Path | None, typer.Option(metavar="CSV", help="Table with the group of each image.")] = None,
    group_column: Annotated[str, typer.Option(help="Its column that holds the group.")] = "patient",
    group_regex: Annotated[str | None, typer.Option(help="Or: what finds the group in a region's name.")] = None,
    val_groups: Annotated[str, typer.Option(metavar="A,B,…", help="Groups for validation.")] = "",
    test_groups: Annotated[str, typer.Option(metavar="A,B,…", help="Groups for testing.")] = "",
    val_fraction: Annotated[float, typer.Option(help="Or: fraction of the groups for validation, at random.")] = 0.0,
    test_fraction: Annotated[float, typer.Option(help="Or: fraction of the groups for testing, at random.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random choice of groups.")] = 0,
) -> None:
    """Cut annotated regions or slides into weakly labelled training patches and masked val and test patches.

    All regions go to one --split, or are split by group (patient, slide), none of which is then on two sides.
    """
    from histoproto.data.cut import cut_patches, masked_regions
    from histoproto.data.cut_record import CutSettings
    from histoproto.data.groups import assign_splits, groups_from_pattern, groups_from_table, split_named
    from histoproto.data.images import list_others
    from histoproto.data.regions import lonely_masks
    from histoproto.errors import SettingError

    out = chosen_out("data cut REGIONS", out, old_out)
    by_group = groups is not None or group_regex is not None
    shares = {
        "val": [name.strip() for name in val_groups.split(",") if name.strip()] or val_fraction,
        "test": [name.strip() for name in test_groups.split(",") if name.strip()] or test_fraction,
    }
    if sum(given is not None for given in (split, groups, group_regex)) > 1:
        raise SettingError("say once where the regions go: --split, or --groups, or --group-regex")
    if any(shares.values()) and not by_group:
        raise SettingError("a split by group needs --groups or --group-regex, which tell the group of each region")
    side = split_named(split or "train")
    if side is None:
        raise SettingError(f"--split is train, val or test, found {split!r}")
    if size_um is not None:
        scale = mpp or region_mpp
        if not scale or scale < 0 or size_um <= 0:
            raise SettingError("--size-um is above 0 and needs the scale of the patches: --mpp, or --region-mpp alone")
        size = round(size_um / scale)
    if (regions / "img").is_dir():
        if annotations or classes or image:
            raise SettingError(
                "--annotations, --image and --classes are for slides; regions have mask/ and classes.yaml"
            )
        settings = CutSettings(size, stride, test_stride, min_fraction, region_mpp, mpp, train_masks)
        tissues, openers = masked_regions(regions, settings.factor)
        if others := list_others(regions / "img"):
            typer.echo(f"note: left out of {regions / 'img'}, as they are no images of a kind that is read: {others}")
        for note in lonely_masks(regions):
            typer.echo(f"note: {note}", err=True)
    else:
        from histoproto.slides.patches.annotated import find_annotated

        if mpp is None:
            raise SettingError(f"{regions} has no folder img/, and slides are cut at a chosen scale: give --mpp")
        settings = CutSettings(size, stride, test_stride, min_fraction, mpp, mpp, train_masks)
        found = find_annotated(
            regions, mpp, annotations, None if classes is None else tissue_set(classes), region_mpp, image
        )
        tissues, openers = found.tissues, found.regions
        print_annotated(found)
    member: dict[str, str] | None = None
    if groups is not None:
        member = groups_from_table(groups, group_column, openers)
    elif group_regex is not None:
        member = groups_from_pattern(group_regex, openers)
    sides = None
    if member is not None:
        sides = assign_splits(member.values(), val=shares["val"], test=shares["test"], seed=seed)
    with _bar("regions") as progress:
        report = cut_patches(
            tissues, openers, out, settings, split=side, groups=member, splits=sides, progress=progress
        )
    print_cut(report, out, size)


def tiles(
    slides: Annotated[
        list[Path], typer.Argument(metavar="SLIDES", help="Slides, folders or patterns of them, or CSV tables.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="New folder for tiles/ and labels.csv.")],
    classes: Annotated[str, typer.Option(metavar="A,B,…|YAML", help="The tissues to tick.")],
    mpp: Annotated[float, typer.Option(help="Scale of the tiles in µm/px.")],
    size: Annotated[int, typer.Option(help="Side of a tile in pixels.")] = 224,
    stride: Annotated[int | None, typer.Option(help="Step between tiles.", show_default="the size")] = None,
    per_slide: Annotated[
        int | None, typer.Option(help="How many of a slide, drawn at random.", show_default="all")
    ] = None,
    min_tissue: Annotated[float, typer.Option(help="Least fraction of a tile that is not glass.")] = 0.5,
    slide_mpp: Annotated[
        float | None, typer.Option(help="Scale of the slides in µm/px.", show_default="what their files say")
    ] = None,
    image: ImageOption = None,
    regions: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where to look.", show_default="wherever there is tissue")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same tiles.")] = 0,
) -> None:
    """Cut tiles with tissue for a person to label: fill in 0 and 1 in labels.csv, and it is a folder to train on."""
    from histoproto.slides.many.folders import LeftOut
    from histoproto.slides.many.tasks import find_slides
    from histoproto.slides.patches.unlabelled import TileSettings, cut_tiles

    settings = TileSettings(mpp, size, stride, min_tissue, per_slide, seed)
    left_out, notes = LeftOut(), list[str]()
    tasks = find_slides(slides, slide_mpp, regions, left_out, image)
    with _bar("slides") as progress:
        counts = cut_tiles(tasks, out, tissue_set(classes), settings, progress, notes)
    for note in (*left_out.notes, *notes):
        typer.echo(f"note: {note}", err=True)
    empty = [name for name, count in counts.items() if not count]
    if empty:
        typer.echo(f"note: no tile with enough tissue in {', '.join(empty)}", err=True)
    typer.echo(
        f"{counted(sum(counts.values()), 'tile')} of {counted(len(counts), 'slide')} in {out / 'tiles'}\n"
        f"next: write 1 where a tile shows a tissue and 0 where it does not in {out / 'labels.csv'}, "
        f"then histoproto data check {out}"
    )


def phantom(
    old_out: OldOut = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="OUT", help="Data folder to write.")] = None,
    train: Annotated[int, typer.Option(min=0, help="Training patches.")] = 300,
    val: Annotated[int, typer.Option(min=0, help="Validation patches, with masks.")] = 40,
    test: Annotated[int, typer.Option(min=0, help="Test patches, with masks.")] = 60,
    size: Annotated[int, typer.Option(min=1, help="Side of a patch in pixels.")] = 128,
    mpp: Annotated[float, typer.Option(help="Scale in µm/px.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same patches.")] = 0,
) -> None:
    """Draw synthetic H&E patches of four tissues, with exact masks."""
    from histoproto.data.phantom import write_phantom

    out = chosen_out("data phantom", out, old_out)
    data = write_phantom(out, train=train, val=val, test=test, size=size, mpp=mpp, seed=seed)
    typer.echo(f"drawn: {len(data.train)} training, {len(data.val)} val and {len(data.test)} test patches in {out}")


def phantom_slide(
    old_out: OldOut = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="OUT", help="Slide to write, a .tif.")] = None,
    mask: Annotated[Path | None, typer.Option(metavar="OUT", help="Also write what is where, a .tif.")] = None,
    width: Annotated[int, typer.Option(min=1, help="In pixels.")] = 4096,
    height: Annotated[int, typer.Option(min=1, help="In pixels.")] = 3072,
    mpp: Annotated[float, typer.Option(help="Scale in µm/px.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same slide.")] = 0,
) -> None:
    """Draw a synthetic slide of four tissues, a pyramidal TIFF, to try `histoproto segment` on."""
    from histoproto.slides.phantom import write_phantom_slide

    out = chosen_out("data phantom-slide", out, old_out)
    write_phantom_slide(out, mask, width=width, height=height, mpp=mpp, seed=seed)
    typer.echo(f"drawn: {out}, {width} × {height} px at {mpp} µm/px\nnext: histoproto segment RUN {out} --out OUT")


def export_project(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder of a project of the studio.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="New data folder.")],
) -> None:
    """Write the labelled tiles of a studio's project as a data folder; those of random checks beside it, in checks/."""
    from histoproto.studio.project import Project

    count = Project.open(project).export_labels(out, checks=True)
    typer.echo(f"{count} labelled tiles in {out}\nnext: histoproto train {out} --out RUN")


app = typer.Typer(cls=Group, help="Check, cut, export and draw data folders.", no_args_is_help=True)
register(app, "check", check)
register(app, "cut", cut)
register(app, "tiles", tiles)
register(app, "export", export_project)
register(app, "phantom", phantom)
register(app, "phantom-slide", phantom_slide)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal, as something to tell of progress."""
    with progress_bars() as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def tissue_set(classes: str) -> TissueSet:
    """The tissues that `--classes` names: a classes.yaml, or names with commas between."""
    from histoproto.tissue import TissueSet

    if classes.endswith((".yaml", ".yml")):
        return TissueSet.read(Path(classes))
    return TissueSet.of(*(name.strip() for name in classes.split(",")))
