"""Measuring maps that are there already: `histoproto measure`, of the folders that `segment` wrote."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import tifffile
from pydantic import BaseModel, Field

from histoproto.data.images import natural_key
from histoproto.documents.ranges import MPP
from histoproto.documents.shapes import read_json_as
from histoproto.errors import DataError, ImageError, first_line
from histoproto.ledger import Ledger, own
from histoproto.slides.export.finished import RECORD_FILE
from histoproto.slides.export.ome_tiff import SAME_MPP, may_be_of
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.many.tasks import OUTLINES, find_beside
from histoproto.slides.measures.measurement import Measurement, measure_map, wanted_of
from histoproto.slides.measures.part import parts_of
from histoproto.slides.measures.table import write_measures
from histoproto.slides.regions.geojson import Region, read_annotations
from histoproto.slides.regions.placing import check_places

MAP_FILE = "tissue.ome.tif"


class _Side(BaseModel):
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    mpp: Annotated[float, Field(gt=0)] | None = None


class _Tissue(BaseModel):
    name: str


class _Record(_Side):
    """What is read of the record of a slide: of which size and scale its map is, and what is in it."""

    slide: str
    mpp: Annotated[float, Field(ge=MPP[0], le=MPP[1])]
    downsample: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    level_0: _Side
    regions: str | None = None
    tissues: Annotated[list[_Tissue], Field(min_length=1)]


def measure_results(
    results: Path,
    out: Path,
    near: Sequence[str] = (),
    tsr: str | None = None,
    tils: str | None = None,
    regions: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, list[Measurement]], list[str]]:
    """Measure the maps in a folder that `segment` wrote, and write one table of them all.

    Args:
        results: that folder, or the folder of one slide in it.
        out: the table.
        near, tsr, tils: see `wanted_of`.
        regions: GeoJSON in pixels of the slides' full resolution, or a folder with a file of each slide's name; each
            region is measured by itself, beside the whole slide.
        progress: called with slides done and slides in all.

    Returns:
        The measurements by slide, and what is to be known of them, in sentences.

    Raises:
        DataError: there are no maps, or no regions for one.
        SettingError: there is no such tissue, or the distance is none.
        ImageError, DocumentError: a map or its record is damaged.
        OutputError: the table cannot be written.
    """
    folders, notes = slide_folders(results)
    records = {folder: read_json_as(folder / RECORD_FILE, _Record) for folder in folders}
    names = {folder: [each.name for each in record.tissues] for folder, record in records.items()}
    wanted = {folder: wanted_of(names[folder], near, tsr, tils) for folder in folders}
    drawn = {folder: _regions_of(folder.name, regions, len(folders)) for folder in folders}
    Ledger(out.parent).require_own([out])  # what is wrong is said before any work
    measured: dict[str, list[Measurement]] = {}
    for folder, record in records.items():
        found: list[Region] = []
        if (path := drawn[folder]) is not None:
            annotations = read_annotations(path)
            sides, mpp = record.level_0, record.mpp / record.downsample
            odd = check_places(annotations.regions, sides.width, sides.height, mpp, path)
            notes += [f"{folder.name}: {note}" for note in (*annotations.notes, *odd)]
            found = annotations.regions
        if record.regions is not None:
            notes.append(f"{folder.name}: what lies outside of {Path(record.regions).name} was not segmented")
        with _raster(folder / MAP_FILE, record) as raster:
            parts = parts_of(raster, found, record.downsample)
            measured[folder.name] = measure_map(raster, names[folder], record.mpp, parts, wanted[folder])
        if progress:
            progress(len(measured), len(folders))
    with own(out):
        write_measures(out, measured)
    return measured, notes


def slide_folders(results: Path) -> tuple[list[Path], list[str]]:
    """The folders of finished slides in a folder that `segment` wrote, or that folder if it is a slide's.

    Returns:
        Them, and sentences on those that are not whole.

    Raises:
        DataError: there are none.
    """
    if not results.is_dir():
        raise DataError(f"there is no folder {results}; expected one that histoproto segment wrote")
    if (results / RECORD_FILE).is_file() and (results / MAP_FILE).is_file():
        return [results.resolve()], []
    pairs = [(folder, [(folder / name).is_file() for name in (MAP_FILE, RECORD_FILE)]) for folder in results.iterdir()]
    pairs = [(folder, there) for folder, there in pairs if folder.name[0] != "." and any(there)]
    if not (found := [folder for folder, there in pairs if all(there)]):
        raise DataError(f"{results} holds no maps of slides; expected a folder that histoproto segment wrote")
    notes = [
        f"{folder.name} is left out: it has no {RECORD_FILE if there[0] else MAP_FILE}"
        for folder, there in sorted(pairs)
        if not all(there)
    ]
    return sorted(found, key=lambda folder: natural_key(folder.name)), notes


def _regions_of(name: str, regions: Path | None, slides: int) -> Path | None:
    if regions is None or not regions.is_dir():
        if regions is not None and slides > 1:
            raise DataError(
                f"{regions} is one file for {slides} slides; give a folder with one file of each slide's name"
            )
        return regions
    if (found := find_beside(regions, name, OUTLINES)) is None:
        raise DataError(f"{regions} has no file {name}.geojson; regions go by the name of their slide")
    return found


@contextmanager
def _raster(path: Path, record: _Record) -> Iterator[LabelRaster]:
    """The label map of a slide in a file of plain bytes, copied tile by tile."""
    tissues = [tissue.name for tissue in record.tissues]
    with tempfile.TemporaryDirectory() as folder:
        try:
            with (
                tifffile.TiffFile(path) as file,
                LabelRaster.create(Path(folder) / "labels", record.height, record.width) as raster,
            ):
                page = file.pages[0]
                fits = page.shape == raster.shape and page.dtype == np.uint8
                of_slide = record.level_0.mpp or record.mpp / record.downsample
                fits = fits and abs(of_slide * record.downsample / record.mpp - 1) < SAME_MPP
                if not fits or not may_be_of(file.ome_metadata, tissues, record.mpp):
                    raise ImageError(f"{path} is not the map that {path.with_name(RECORD_FILE)} tells of")
                for tile, place, shape in page.segments():
                    if tile is None:
                        raise ImageError(f"{path} lacks some of its pixels; it was not copied as a whole")
                    if tile.max() > len(tissues) + 1:
                        raise ImageError(f"{path} holds the label {tile.max()}, expected 0 to {len(tissues) + 1}")
                    top, left = place[-3:-1]
                    raster.write(top, left, tile.reshape(shape[-3:-1])[: raster.height - top, : raster.width - left])
                yield raster
        except (tifffile.TiffFileError, zlib.error, RuntimeError, ValueError, OSError) as error:
            raise ImageError(f"{path} cannot be read: {first_line(error)}") from error
