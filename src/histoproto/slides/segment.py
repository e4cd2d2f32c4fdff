"""One slide from its file to a folder of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path

from histoproto.data.staging import new_folder, refuse_if_filled
from histoproto.inference.segmenter import SAME_SCALE, Segmenter
from histoproto.inference.windows import CELL
from histoproto.record import environment, now, peak_memory_mib, write_record
from histoproto.slides.export import (
    AreaRow,
    ProbabilityWriter,
    slide_areas,
    write_areas,
    write_geojson,
    write_ome_tiff,
    write_overview,
)
from histoproto.slides.export.areas import if_empty
from histoproto.slides.export.spatial import write_spatialdata
from histoproto.slides.export.trusted import trust_record
from histoproto.slides.export.uncertainty import write_uncertainty
from histoproto.slides.labelling.labels import SlideLabeller
from histoproto.slides.labelling.plan import plan_windows
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.labelling.room import check_room
from histoproto.slides.labelling.scope import OVERVIEW_SIDE, DrawnScope, find_scope, if_glass
from histoproto.slides.labelling.tiles import default_readers
from histoproto.slides.labelling.trust import Trust
from histoproto.slides.measures.measurement import measure_map, wanted_of
from histoproto.slides.measures.part import if_few, parts_of
from histoproto.slides.measures.table import MEASURES_FILE, write_measures
from histoproto.slides.options import SlideOptions
from histoproto.slides.outlines.sieve import clean
from histoproto.slides.outlines.tracing import strip_rows
from histoproto.slides.reading.opening import open_slide, require_mpp
from histoproto.slides.reading.protocol import Pixels
from histoproto.slides.regions.geojson import Region
from histoproto.slides.steps import finish
from histoproto.slides.task import SlideTask
from histoproto.tissue import TissueSet

RECORD_FILE, PROBABILITIES_FILE = "record.json", "probabilities.zarr"


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
    notes: tuple[str, ...] = ()
    """Sentences on what was chosen, assumed or left out."""


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
    with open_slide(task.path, task.mpp, task.image) as reader:
        mpp = require_mpp(reader, wanted=model_mpp)
        downsample = 1.0 if abs(model_mpp / mpp - 1) < SAME_SCALE else model_mpp / mpp
        patch_size = segmenter.card.patch_size
        step = max(1, round(patch_size * (1 - options.overlap)))
        channels = 2 * len(segmenter.tissues) + 1  # maps, logits and strangeness
        check_room(reader, downsample, channels, patch_size, step, out)
        overview, _ = reader.thumbnail(OVERVIEW_SIDE)
        scope = find_scope(reader, mpp, task.regions, overview)
        regions = scope.regions if isinstance(scope, DrawnScope) else ()
        plan = plan_windows(reader.height, reader.width, downsample, patch_size, options.overlap, scope)
        batch_size = options.batch_size or (8 if segmenter.device.type == "cpu" else 64)
        readers = options.readers or default_readers()
        labeller = SlideLabeller(segmenter, reader, plan, scope, settings, batch_size, readers)
        windows, notes = int(plan.needed.sum()), (*reader.notes, *scope.notes, *if_few(regions)[1])
        summary = SlideSummary(out.name, plan.width, plan.height, mpp * downsample, windows, notes)
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
            trust = stack.enter_context(Trust.create(part, *plan.cells, segmenter.strangeness is not None))
            labeller.write(raster, progress, keep, trust)
            notes = (*notes, *if_glass(labeller.labelled, labeller.glass))
            del labeller  # its strips, before another slide has its own
            yield
            areas = _export(part, raster, segmenter.tissues, overview, summary, regions, downsample, options, trust)
            trusted = trust_record(areas, trust, segmenter.card, settings)
            summary = replace(summary, notes=(*notes, *if_empty(areas), *trusted["sentences"], *trusted["notes"]))
            raster.path.unlink()
            record = {
                "slide": str(task.path.absolute()),
                "regions": task.regions and str(task.regions.absolute()),
                "reader": type(reader).__name__,
                "level_0": {"width": reader.width, "height": reader.height, "mpp": mpp, "bounds": reader.origin},
                "mpp_from": reader.mpp_from,
                "image": reader.image,
                "image_told": task.image,
                "downsample": downsample,
                **asdict(summary),
                "tissues": [asdict(tissue) for tissue in segmenter.tissues.tissues],
                "trust": trusted,
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
    regions: Sequence[Region],
    downsample: float,
    options: SlideOptions,
    trust: Trust,
) -> list[AreaRow]:
    clean(raster, ceil(options.min_area_um2 / summary.mpp**2), strip_rows(raster.width))
    areas = slide_areas(raster, tissues, summary.mpp, regions, downsample, trust=trust)
    write_areas(part / "areas.csv", areas)
    if options.spatialdata:
        store = part / "spatialdata.zarr"
        write_spatialdata(store, raster, tissues, areas, overview, downsample, summary.mpp, options.tolerance_um)
    with ThreadPoolExecutor(1) as pool:  # the picture takes as long as all the rest
        picture = part / "overview.png"
        drawn = pool.submit(write_overview, picture, overview, raster, tissues, summary.mpp, summary.name, areas, trust)
        parts = parts_of(raster, if_few(regions)[0], downsample)
        measured = measure_map(raster, tissues.names, summary.mpp, parts, wanted_of(tissues.names))
        write_measures(part / MEASURES_FILE, {summary.name: measured})
        write_ome_tiff(part / "tissue.ome.tif", raster, tissues, summary.mpp)
        write_geojson(
            part / ("tissue.geojson.gz" if options.gzip else "tissue.geojson"),
            raster,
            tissues,
            downsample,
            summary.mpp,
            tolerance_um=options.tolerance_um,
            gzip=options.gzip,
        )
        if options.uncertainty:
            write_uncertainty(part, trust, summary.mpp * CELL)
        drawn.result()
    return areas
