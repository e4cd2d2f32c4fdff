"""One slide from its file to a folder of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from histoproto.config import InferenceSettings
from histoproto.data.staging import new_folder, refuse_if_filled
from histoproto.errors import SettingError
from histoproto.inference.background import Background
from histoproto.inference.fusion import Fusion
from histoproto.inference.segmenter import SAME_SCALE, Segmenter
from histoproto.inference.settings import change_settings
from histoproto.model.saving import ModelCard
from histoproto.slides.export import (
    ProbabilityWriter,
    Region,
    read_geojson,
    slide_areas,
    write_areas,
    write_geojson,
    write_ome_tiff,
    write_overview,
)
from histoproto.slides.export.geojson import MINIMUM_AREA_UM2
from histoproto.slides.labels import SlideLabeller
from histoproto.slides.plan import CELL, plan_windows
from histoproto.slides.raster import LabelRaster
from histoproto.slides.reader import Pixels, open_slide, require_mpp
from histoproto.slides.scope import OVERVIEW_SIDE, find_scope, is_image
from histoproto.slides.steps import finish
from histoproto.slides.tiles import default_readers
from histoproto.tissue import TissueSet
from histoproto.training.record import environment, now, peak_memory_mib, write_record

RECORD_FILE, PROBABILITIES_FILE = "record.json", "probabilities.zarr"


@dataclass(frozen=True)
class SlideTask:
    """A slide to be segmented."""

    path: Path
    mpp: float | None = None
    """µm/px of its level 0, instead of what the file says."""
    regions: Path | None = None
    """What of it: GeoJSON as QuPath writes it, or a mask image; None: its tissue."""


@dataclass(frozen=True)
class SlideOptions:
    """How slides are segmented; None: as the model was saved."""

    crf: bool | None = None
    views: Literal[1, 6] | None = None
    fusion: Fusion | None = None
    background: Background | None = None
    fast: bool = False
    """Compute in half precision, as `Segmenter.load` does."""
    model_mpp: float | None = None
    """µm/px of the model, for one that does not know it."""
    overlap: float = 0.5
    """Share of a window's side that it has in common with the next."""
    batch_size: int | None = None
    """Windows that go through the network together; None: 8 on a processor, whose cache they must fit, 64 on a GPU."""
    readers: int | None = None
    """Threads that read; None: half of the cores."""
    probabilities: bool = False
    """Write `probabilities.zarr`, on a grid of 8 × 8 pixels: that of the finest activation map."""
    min_area_um2: float = MINIMUM_AREA_UM2
    """Smaller specks are left out of the outlines."""
    tolerance_um: float | None = None
    """How much outlines are simplified; 0: not at all; None: by a pixel of the label map."""
    gzip: bool = False
    """Compress the outlines."""

    def settings(self, defaults: InferenceSettings) -> InferenceSettings:
        """The settings for inference, given those of the model."""
        given = {name: getattr(self, name) for name in ("crf", "views", "fusion", "background")}
        return change_settings(defaults, **{name: value for name, value in given.items() if value is not None})

    def scale(self, card: ModelCard) -> float:
        """The µm/px at which slides are read: the model's.

        Raises:
            SettingError: nobody knows.
        """
        mpp = self.model_mpp or card.mpp
        if mpp is None:
            raise SettingError("the model does not know at how many µm/px it was trained; give it with --model-mpp")
        return mpp


@dataclass(frozen=True)
class SlideSummary:
    """What came of a slide."""

    name: str
    width: int
    """Of the label map, in pixels."""
    height: int
    mpp: float
    """µm/px of the label map."""
    windows: int
    """That went through the network."""


def segment_slide(
    segmenter: Segmenter,
    task: SlideTask,
    out: Path,
    options: SlideOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SlideSummary:
    """Segment a slide and write its folder of results; nothing is found under that name before all of it is there.

    Args:
        segmenter: the model.
        task: the slide.
        out: folder of its results, new; its name is the slide's.
        options: how.
        progress: called with windows done and windows in all.

    Raises:
        SettingError: the model does not know its µm/px, or an option is out of range.
        DataError: the slide does not say its µm/px, or its regions are no regions.
        ImageError: the slide cannot be read, or is damaged.
        OutputError: the results cannot be written.
    """
    return finish(slide_steps(segmenter, task, out, options, progress))


def slide_steps(
    segmenter: Segmenter,
    task: SlideTask,
    out: Path,
    options: SlideOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Generator[None, None, SlideSummary]:
    """`segment_slide` in two steps: labels, then files, for which the network is free and another thread will do."""
    options = options or SlideOptions()
    settings = options.settings(segmenter.card.inference)
    model_mpp = options.scale(segmenter.card)
    refuse_if_filled(out)
    started, cpu = time.monotonic(), time.process_time()
    with open_slide(task.path, task.mpp) as reader:
        mpp = require_mpp(reader)
        regions = [] if task.regions is None or is_image(task.regions) else read_geojson(task.regions)
        downsample = 1.0 if abs(model_mpp / mpp - 1) < SAME_SCALE else model_mpp / mpp
        overview, _ = reader.thumbnail(OVERVIEW_SIDE)
        scope = find_scope(reader, mpp, task.regions, overview)
        plan = plan_windows(reader.height, reader.width, downsample, segmenter.card.patch_size, options.overlap, scope)
        batch_size = options.batch_size or (8 if segmenter.device.type == "cpu" else 64)
        readers = options.readers or default_readers()
        labeller = SlideLabeller(segmenter, reader, plan, scope, settings, batch_size, readers)
        summary = SlideSummary(out.name, plan.width, plan.height, mpp * downsample, int(plan.needed.sum()))
        with new_folder(out) as part, ExitStack() as stack:
            background = segmenter.tissues.background_index
            raster = stack.enter_context(
                LabelRaster.create(part / ".labels", summary.height, summary.width, fill=background)
            )
            keep = None
            if options.probabilities:
                cells, scale = plan.cells, summary.mpp * CELL
                keep = stack.enter_context(
                    ProbabilityWriter(part / PROBABILITIES_FILE, segmenter.tissues, *cells, mpp=scale)
                ).write
            labeller.write(raster, progress, keep)
            del labeller  # its strips, before another slide has its own
            yield
            _export(part, raster, segmenter.tissues, overview, summary, regions, downsample, options)
            raster.path.unlink()
            record = {
                "slide": str(task.path.absolute()),
                "regions": task.regions and str(task.regions.absolute()),
                "reader": type(reader).__name__,
                "level_0": {"width": reader.width, "height": reader.height, "mpp": mpp, "bounds": reader.origin},
                "downsample": downsample,
                **asdict(summary),
                "tissues": [asdict(tissue) for tissue in segmenter.tissues.tissues],
                "settings": {**asdict(options), **settings.model_dump(), "model_mpp": model_mpp},
                "training_data": segmenter.card.training_data,
                **environment(),
                "finished": now(),
                "seconds": time.monotonic() - started,
                "processor_seconds": time.process_time() - cpu,
                "peak_memory_mib": peak_memory_mib(),
            }
            write_record(part / RECORD_FILE, record)
    return summary


def _export(
    part: Path,
    raster: LabelRaster,
    tissues: TissueSet,
    overview: Pixels,
    summary: SlideSummary,
    regions: list[Region],
    downsample: float,
    options: SlideOptions,
) -> None:
    areas = slide_areas(raster, tissues, summary.mpp, regions, downsample)
    write_areas(part / "areas.csv", areas)
    with ThreadPoolExecutor(1) as pool:  # the picture takes as long as all the rest
        picture = part / "overview.png"
        drawn = pool.submit(write_overview, picture, overview, raster, tissues, summary.mpp, summary.name, areas)
        write_ome_tiff(part / "tissue.ome.tif", raster, tissues, summary.mpp)
        write_geojson(
            part / ("tissue.geojson.gz" if options.gzip else "tissue.geojson"),
            raster,
            tissues,
            downsample,
            summary.mpp,
            min_area_um2=options.min_area_um2,
            tolerance_um=options.tolerance_um,
            gzip=options.gzip,
        )
        drawn.result()
