"""How good the maps of whole regions and slides are: `evaluate --maps`, the score of what a user gets.

Maps are made as `segment` makes them: blended, gated by place, cleaned. The label map is kept in a file and compared
strip by strip. Masks are read whole, a byte a pixel; drawn annotations are painted strip by strip.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from histoproto.data.leaks import refuse_leaks
from histoproto.data.masks import read_mask
from histoproto.data.regions import find_regions, find_tissues, lonely_masks
from histoproto.documents.shapes import read_json_as
from histoproto.errors import SettingError
from histoproto.evaluation.learnt import learnt_images
from histoproto.evaluation.patches import translate_tissues
from histoproto.evaluation.protocols import Protocol
from histoproto.files import replace_atomically
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.comparing import Counts, compare, summarise, together
from histoproto.slides.labelling.labels import SlideLabeller
from histoproto.slides.labelling.plan import plan_windows
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.labelling.scope import MaskScope, Scope, find_scope
from histoproto.slides.labelling.tiles import default_readers
from histoproto.slides.labelling.trust import Trust
from histoproto.slides.options import SlideOptions
from histoproto.slides.outlines.sieve import clean
from histoproto.slides.outlines.tracing import strip_rows
from histoproto.slides.patches.annotated import find_annotated
from histoproto.slides.reading.opening import open_slide, require_mpp
from histoproto.slides.reading.protocol import SlideReader
from histoproto.slides.regions.polygons import paint_polygons

MAPS_FILE = "maps.json"
DISTANCE_UM = 10.0
"""Of the band along outlines for the boundary IoU: about a cell."""

Labels = NDArray[np.uint8]


class Known(NamedTuple):
    """An image or slide, open, of which the truth is known."""

    reader: SlideReader
    downsample: float
    """Pixels of level 0 per pixel of the map."""
    scope: Scope
    truth: Callable[[int, int], Labels]
    """Rows first … last − 1 of the true label map, at the scale of the map, tissues in the order of the model."""


def evaluate_maps(
    run: Path,
    data: Path,
    protocol: Protocol | None = None,
    options: SlideOptions | None = None,
    mpp: float | None = None,
    distance_um: float = DISTANCE_UM,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    allow_leak: bool = False,
) -> dict[str, Any]:
    """Score the maps of whole images or slides and add the result to RUN/maps.json, under protocol and folder.

    Args:
        run: run folder.
        data: region folder (`img/`, `mask/`, `classes.yaml`), of which every pixel is mapped; or slides with
            annotations `SLIDE.geojson` beside them, of which the tissue is mapped, found as `segment` finds it.
        protocol: None: `honest`. With predicted labels, as nobody knows which tissues are at a place.
        options: overlap, least area and scale of the model, as for `segment`; the rest is the protocol's.
        mpp: µm/px of images that do not say.
        distance_um: see `DISTANCE_UM`.
        device: see `Segmenter`.
        progress: called with maps done and maps in all.
        allow_leak: go on, and record it, although the run was trained on patches of these images (`learnt_images`).

    Returns:
        `protocol`, `data`, `pooled` and, by name, `slides`, see `summarise`. Pooled counts are summed over slides
        first, then scored.

    Raises:
        SettingError: oracle labels, or nobody knows the scale of the model.
        DataError, ImageError, TissueError: no images or no truth, files that cannot be read, tissues the model does not
            know, or images that were trained on.
    """
    protocol, options = protocol or Protocol(), options or SlideOptions()
    if protocol.labels != "predicted":
        raise SettingError("maps of slides are scored with predicted labels; nobody knows which tissues are at a place")
    segmenter = Segmenter.load(run, device)
    settings = protocol.settings(segmenter.card.inference)
    scale, count = options.scale(segmenter.card), len(segmenter.tissues)
    reach = max(1, round(distance_um / scale))
    openers: dict[str, Callable[[], Any]]
    files: dict[str, Path | None]
    if (data / "img").is_dir():
        openers, files = (
            _regions(segmenter, data, scale, mpp),
            {name: pair[0] for name, pair in find_regions(data).items()},
        )
        notes = lonely_masks(data)
    else:
        openers, notes = _slides(segmenter, data, scale, mpp)
        files = dict.fromkeys(openers)
    if leaks := learnt_images(run, files):
        refuse_leaks(leaks, data, allow_leak, "--allow-leak")
    counts: dict[str, Counts] = {}
    for name, opener in openers.items():
        with opener() as known, tempfile.TemporaryDirectory() as folder:
            reader = known.reader
            notes += [f"{name}: {note}" for note in reader.notes]
            size = segmenter.card.patch_size
            plan = plan_windows(reader.height, reader.width, known.downsample, size, options.overlap, known.scope)
            with (
                LabelRaster.create(Path(folder) / "labels", plan.height, plan.width, fill=count) as raster,
                Trust.create(Path(folder), *plan.cells, known=False) as trust,
            ):
                batch = options.batch_size or (8 if segmenter.device.type == "cpu" else 64)
                readers = options.readers or default_readers()
                SlideLabeller(segmenter, reader, plan, known.scope, settings, batch, readers).write(raster, trust=trust)
                clean(raster, ceil(options.min_area_um2 / scale**2), strip_rows(raster.width))
                counts[name] = compare(raster, trust.doubt, known.truth, count, protocol.background, reach)
        if progress:
            progress(len(counts), len(openers))
    result = {
        "protocol": asdict(protocol) | {"fusion": settings.fusion, "fusion_weights": list(settings.fusion_weights)},
        "maps": {"overlap": options.overlap, "min_area_um2": options.min_area_um2, "distance_um": distance_um},
        "data": {
            "folder": str(data),
            "slides": len(openers),
            "mpp": scale,
            "notes": notes,
            **({"leaks": leaks} if leaks else {}),
        },
        "pooled": summarise(together([*counts.values()]), segmenter.tissues.names, protocol.background),
        "slides": {
            name: summarise(each, segmenter.tissues.names, protocol.background) for name, each in counts.items()
        },
    }
    path = run / MAPS_FILE
    found = read_json_as(path, dict[str, dict[str, dict[str, Any]]]) if path.is_file() else {}
    found.setdefault(protocol.name, {})[str(data)] = result
    with replace_atomically(path) as temporary:
        temporary.write_text(json.dumps(found, indent=2, allow_nan=False), encoding="utf-8")
    return result


@contextmanager
def _region(
    image: Path, mask: Path, tissues: Any, translation: Labels, scale: float, mpp: float | None
) -> Iterator[Known]:
    with open_slide(image, mpp) as reader:
        downsample = _downsample(scale, require_mpp(reader))
        labels = translation[read_mask(mask, tissues, (reader.height, reader.width))]
        height, width = (max(1, round(side / downsample)) for side in labels.shape)
        columns = _middles(width, labels.shape[1], downsample)

        def truth(first: int, last: int) -> Labels:
            rows = _middles(height, labels.shape[0], downsample)[first:last]
            return labels[np.ix_(rows, columns)]

        yield Known(reader, downsample, MaskScope(np.ones((1, 1), np.bool_), labels.shape), truth)


def _regions(segmenter: Segmenter, data: Path, scale: float, mpp: float | None) -> dict[str, Callable[[], Any]]:
    tissues = find_tissues(data)
    translation = translate_tissues(tissues, segmenter.tissues)

    def opener(image: Path, mask: Path) -> Callable[[], Any]:
        return lambda: _region(image, mask, tissues, translation, scale, mpp)

    return {name: opener(*pair) for name, pair in find_regions(data).items()}


def _slides(
    segmenter: Segmenter, data: Path, scale: float, mpp: float | None
) -> tuple[dict[str, Callable[[], Any]], list[str]]:
    found = find_annotated(data, scale, classes=segmenter.tissues, slide_mpp=mpp)

    @contextmanager
    def opened(annotated: Any) -> Iterator[Known]:
        with annotated() as slide:
            downsample = slide.downsample
            width = max(1, round(slide.reader.width / downsample))
            values = np.array(slide.tissue, dtype=np.uint8)

            def truth(first: int, last: int) -> Labels:
                labels = np.full((last - first, width), slide.background, dtype=np.uint8)
                paint_polygons(labels, slide.areas, values, top=first)
                return labels

            scope = find_scope(slide.reader, require_mpp(slide.reader))
            slide.reader.notes += [*slide.notes, *scope.notes]
            yield Known(slide.reader, downsample, scope, truth)

    def opener(annotated: Any) -> Callable[[], Any]:
        return lambda: opened(annotated)

    return {name: opener(region) for name, region in found.regions.items()}, found.sentences


def _downsample(scale: float, mpp: float) -> float:
    return 1.0 if abs(scale / mpp - 1) < 0.02 else scale / mpp


def _middles(count: int, length: int, downsample: float) -> NDArray[np.intp]:
    """The pixels of `length` in which the middles of `count` coarser or finer ones lie."""
    return np.minimum(((np.arange(count) + 0.5) * downsample).astype(np.intp), length - 1)
