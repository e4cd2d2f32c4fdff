"""`histoproto predict`: masks, overlays and areas of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from histoproto.cli.terminal import progress_bars
from histoproto.words import counted


def predict(
    run: RunArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Image files, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="Where mask/, overlay/ and areas.csv go.")],
    mpp: Annotated[
        float | None, typer.Option(min=1e-3, help="µm/px of the images: gives areas in mm², and the model's scale.")
    ] = None,
    views: ViewsOption = None,
    crf: CrfOption = None,
    fusion: FusionOption = None,
    background: BackgroundOption = None,
    abstain: AbstainOption = None,
    labels_from_names: Annotated[
        bool, typer.Option("--labels-from-names", help="Use the labels in file names such as NAME[101].png.")
    ] = False,
    device: DeviceOption = "auto",
    fast: FastOption = False,
) -> None:
    """Segment images: palette masks, overlays to look at, and a table of areas.

    Options that are not given are those saved with the model.
    """
    from histoproto.data.images import list_others
    from histoproto.errors import ImageError
    from histoproto.inference.doubt import notes_on_trust
    from histoproto.inference.predict import find_images, predict_files
    from histoproto.inference.segmenter import Segmenter
    from histoproto.inference.settings import change_settings

    find_images(images)  # a mistyped path is answered before the model is loaded
    segmenter = Segmenter.load(run, device, fast)
    changes = given(views=views, crf=crf, fusion=fusion, background=background, abstain=abstain)
    settings = change_settings(segmenter.card.inference, **changes)
    if mpp is not None and segmenter.card.mpp is None:
        typer.echo(
            "note: the model does not know its µm/px; images are taken as they are, --mpp only gives mm²", err=True
        )
    with progress_bars() as bar:
        task = bar.add_task("segmenting", total=None)
        prediction = predict_files(
            segmenter,
            images,
            out,
            settings,
            mpp,
            labels_from_names,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    if prediction.done:
        typer.echo(
            f"{counted(len(prediction.done), 'image')} segmented: {out / 'mask'}, {out / 'overlay'}, {prediction.areas}"
        )
    for folder in filter(Path.is_dir, images):
        if others := list_others(folder):
            typer.echo(f"note: left out of {folder}, as they are no images of a kind that is read: {others}", err=True)
    for note in notes_on_trust(segmenter.card, settings, segmenter.strangeness is not None):
        typer.echo(f"note: {note}", err=True)
    for note, count in prediction.notes:
        typer.echo(f"note: {count} of {counted(len(prediction.done), 'image')}: {note}", err=True)
    if prediction.strange:
        names = ", ".join(path.name for path in prediction.strange[:5]) + (" …" if len(prediction.strange) > 5 else "")
        typer.echo(
            f"note: {len(prediction.strange)} of {len(prediction.done)} images are unlike the training patches, expect "
            f"little: {names}",
            err=True,
        )
    for _, sentence in prediction.failed:
        typer.echo(f"failed: {sentence}", err=True)
    if prediction.failed:
        total = len(prediction.failed) + len(prediction.done)
        raise ImageError(
            f"{len(prediction.failed)} of {counted(total, 'image')} could not be read; the others are done"
        )
