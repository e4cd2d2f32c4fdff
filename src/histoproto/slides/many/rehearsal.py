"""What `segment` would do, without doing it: slides, windows, room on the disk, and about how long."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from histoproto.errors import HistoProtoError, sentence
from histoproto.inference.patches import as_batch, patch_maps
from histoproto.inference.segmenter import SAME_SCALE, Segmenter
from histoproto.inference.windows import CELL
from histoproto.slides.export.finished import is_begun
from histoproto.slides.export.packages import require_packages
from histoproto.slides.labelling.plan import plan_windows
from histoproto.slides.labelling.room import FILES, LAYERS, check_room
from histoproto.slides.labelling.scope import find_scope
from histoproto.slides.many.batch import check_summary, is_outdated
from histoproto.slides.many.job import is_finished
from histoproto.slides.many.tasks import name_slides
from histoproto.slides.options import SlideOptions
from histoproto.slides.reading.opening import open_slide, require_mpp
from histoproto.slides.task import SlideTask


@dataclass(frozen=True)
class Rehearsed:
    """What would become of a slide.

    Attributes:
        name: of its folder.
        state: `to do`; `finished` before, so it would be skipped; or it would be `failed`, as far as can be seen now.
        windows: that would go through the network.
        bytes: on the disk, at least.
        sentence: why it would fail.
        notes: what would be left out, set aside or left as it is.
    """

    name: str
    state: Literal["to do", "finished", "failed"]
    windows: int = 0
    bytes: int = 0
    sentence: str = ""
    notes: tuple[str, ...] = ()


def rehearse(
    segmenter: Segmenter, tasks: Sequence[SlideTask], out: Path, options: SlideOptions | None = None
) -> list[Rehearsed]:
    """Open each slide, find its tissue or regions, and count its windows; nothing is written.

    Raises:
        SettingError: an option that is out of range, a package that is not installed, or a model of unknown µm/px.
        DataError: two slides that nothing tells apart.
        OutputError: `out` is no folder, or holds a summary that is not ours.
    """
    options = options or SlideOptions()
    require_packages(options)
    model_mpp = options.scale(segmenter.card)
    check_summary(out)
    rehearsed = []
    for name, task in name_slides(tasks).items():
        if is_finished(out, name):
            old = is_outdated(out / name, task, options, segmenter.card)
            notes = ("done before with other settings, another model or from another file, and left so",) if old else ()
            rehearsed.append(Rehearsed(name, "finished", notes=notes))
            continue
        broken = ("there are results that are not whole; they would be set aside",) if is_begun(out / name) else ()
        try:
            one = _rehearse(segmenter, name, task, out, options, model_mpp)
            rehearsed.append(replace(one, notes=(*broken, *one.notes)))
        except HistoProtoError as error:
            rehearsed.append(Rehearsed(name, "failed", sentence=sentence(error)))
    return rehearsed


def seconds_per_window(segmenter: Segmenter, options: SlideOptions | None = None) -> float:
    """Of the network alone, measured on two batches of grey; the CRF, reading and writing come on top."""
    options = options or SlideOptions()
    settings = options.settings(segmenter.card.inference)
    count = options.batch_size or (8 if segmenter.device.type == "cpu" else 64)
    size = -(-segmenter.card.patch_size // CELL) * CELL
    pixels = as_batch(np.full((count, size, size, 3), 128, dtype=np.uint8), segmenter.device)
    taken = []
    with torch.inference_mode():
        for _ in range(2):  # the first one also makes ready
            started = time.monotonic()
            patch_maps(segmenter.network, pixels, settings, segmenter.thresholds, cell=CELL).scores.cpu()
            taken.append(time.monotonic() - started)
    return min(taken) / count


def _rehearse(
    segmenter: Segmenter, name: str, task: SlideTask, out: Path, options: SlideOptions, model_mpp: float
) -> Rehearsed:
    with open_slide(task.path, task.mpp, task.image) as reader:
        mpp = require_mpp(reader, wanted=model_mpp)
        downsample = 1.0 if abs(model_mpp / mpp - 1) < SAME_SCALE else model_mpp / mpp
        patch_size = segmenter.card.patch_size
        step = max(1, round(patch_size * (1 - options.overlap)))
        check_room(reader, downsample, 2 * len(segmenter.tissues) + 1, patch_size, step, out)
        scope = find_scope(reader, mpp, task.regions)
        plan = plan_windows(reader.height, reader.width, downsample, patch_size, options.overlap, scope)
        size, notes = (
            int((FILES + LAYERS * options.uncertainty) * plan.height * plan.width),
            (*reader.notes, *scope.notes),
        )
        return Rehearsed(name, "to do", int(plan.needed.sum()), size, notes=notes)
