"""A slide's results as spatial omics reads them: one SpatialData object, whose coordinate system is in µm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from histoproto.errors import OutputError, SettingError, first_line
from histoproto.slides.export.areas import WHOLE_SLIDE, AreaRow
from histoproto.slides.labelling.raster import LabelRaster, Labels
from histoproto.slides.outlines.tracing import outlines, strip_rows
from histoproto.tissue import UNCERTAIN, TissueSet

LABELS, OUTLINES, AREAS, PICTURE = "tissue", "tissue_outlines", "tissue_areas", "overview"
"""Names of the elements."""
CHUNK = 1024
SMALLEST = 512
"""Levels of the label pyramid end where a side is no longer than that."""


def require_spatialdata() -> Any:
    """The package spatialdata.

    Raises:
        SettingError: it is not installed.
    """
    try:
        import spatialdata
    except ImportError as error:
        raise SettingError(
            "--spatialdata needs a package that is not installed: pip install 'histoproto[spatialdata]'"
        ) from error
    return spatialdata


def write_spatialdata(
    path: Path,
    raster: LabelRaster,
    tissues: TissueSet,
    areas: Sequence[AreaRow],
    overview: NDArray[np.uint8],
    downsample: float,
    mpp: float,
    tolerance_um: float | None = None,
) -> None:
    """Write a SpatialData store (a folder); every element has a transformation to `global`, in µm.

    - labels `tissue`: 0 is background, as the field has it, 1 + its index a tissue, C + 2 uncertain;
    - shapes `tissue_outlines`: those of `write_geojson`, in pixels of level 0, with the column `tissue`; left out where
      there are none;
    - table `tissue_areas`, which annotates the labels: of each tissue its mm² (X), pixels and percentage on the whole
      slide;
    - image `overview`: the slide, small.

    Labels are read and written in chunks; outlines are all in memory at once.

    Args:
        path: of the folder, new.
        raster: label map, C is background.
        tissues: names and colours.
        areas: as `slide_areas` gives them.
        overview: the slide, H×W×3.
        downsample: pixels of level 0 per pixel of the raster.
        mpp: µm per pixel of the raster.
        tolerance_um: see `write_geojson`.

    Raises:
        SettingError: spatialdata is not installed.
        OutputError: the store cannot be written.
    """
    spatialdata = require_spatialdata()
    elements = {
        LABELS: _labels(raster, tissues.background_index, mpp),
        OUTLINES: _outlines(raster, tissues, downsample, mpp, tolerance_um),
        AREAS: _areas(areas, tissues),
        PICTURE: _picture(overview, raster, mpp),
    }
    whole = spatialdata.SpatialData.init_from_elements(
        {name: element for name, element in elements.items() if element is not None},
        attrs={"tissues": {tissue.name: tissue.colour for tissue in tissues.tissues}},
    )
    try:
        with _quiet_anndata():
            whole.write(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or first_line(error)}") from error


@contextmanager
def _quiet_anndata() -> Iterator[None]:
    """Versions that are about to change how tables are stored warn of it unless they are told what to do."""
    from anndata import settings

    told = {"auto_shard_zarr_v3": False} if hasattr(settings, "auto_shard_zarr_v3") else {}
    with settings.override(**told):
        yield


def _to_um(x: float, y: float) -> dict[str, Any]:
    from spatialdata.transformations import Scale

    return {"global": Scale([x, y], axes=("x", "y"))}


class _Chunked:
    """A raster as dask reads arrays, with the labels of the field."""

    ndim, dtype = 2, np.dtype(np.uint8)

    def __init__(self, raster: LabelRaster, background: int) -> None:
        self.shape, self._raster = raster.shape, raster
        self._values = np.arange(1, 257).astype(np.uint8)
        self._values[background] = 0

    def __getitem__(self, place: tuple[slice, slice]) -> Labels:
        (top, bottom, _), (left, right, _) = (s.indices(side) for s, side in zip(place, self.shape, strict=True))
        return self._values[self._raster.read(top, left, max(0, bottom - top), max(0, right - left))]


def _labels(raster: LabelRaster, background: int, mpp: float) -> Any:
    import dask.array
    from spatialdata.models import Labels2DModel

    halvings = max(0, int(np.ceil(np.log2(max(raster.shape) / SMALLEST))))
    halvings = min(halvings, int(np.log2(min(raster.shape))))  # no side comes to nothing
    return Labels2DModel.parse(
        dask.array.from_array(_Chunked(raster, background), chunks=CHUNK, meta=np.empty((0, 0), np.uint8)),
        dims=("y", "x"),
        scale_factors=[2] * halvings or None,
        transformations=_to_um(mpp, mpp),
    )


def _outlines(
    raster: LabelRaster, tissues: TissueSet, downsample: float, mpp: float, tolerance_um: float | None
) -> Any | None:
    import geopandas
    from spatialdata.models import ShapesModel

    tolerance = 1.0 if tolerance_um is None else tolerance_um / mpp
    found = list(outlines(raster.rows(strip_rows(raster.width)), tissues.background_index, tolerance))
    if not found:
        return None
    drawn = shapely.transform(np.array([polygon for polygon, _ in found], dtype=object), lambda xy: xy * downsample)
    labels = (*tissues.names, "background", UNCERTAIN)
    names = [labels[label] for _, label in found]
    return ShapesModel.parse(
        geopandas.GeoDataFrame({"tissue": names}, geometry=drawn),
        transformations=_to_um(mpp / downsample, mpp / downsample),
    )


def _areas(areas: Sequence[AreaRow], tissues: TissueSet) -> Any:
    import anndata
    import pandas
    from spatialdata.models import TableModel

    of = {row.tissue: row for row in areas if row.region == WHOLE_SLIDE}
    rows = [of[name] for name in tissues.names]
    obs = pandas.DataFrame(
        {
            "tissue": pandas.Categorical(tissues.names, categories=tissues.names),
            "pixels": [row.pixels for row in rows],
            "percent": [row.percent for row in rows],
            "region": pandas.Categorical([LABELS] * len(rows)),
            "label": np.arange(1, len(rows) + 1),
        },
        index=list(tissues.names),
    )
    table = anndata.AnnData(np.array([[row.mm2] for row in rows]), obs, pandas.DataFrame(index=["mm2"]))
    table.uns["tissue_colors"] = [tissue.colour for tissue in tissues.tissues]  # where scanpy looks for them
    return TableModel.parse(table, region=LABELS, region_key="region", instance_key="label")


def _picture(overview: NDArray[np.uint8], raster: LabelRaster, mpp: float) -> Any:
    from spatialdata.models import Image2DModel

    height, width = overview.shape[:2]
    return Image2DModel.parse(
        np.ascontiguousarray(overview.transpose(2, 0, 1)),
        dims=("c", "y", "x"),
        c_coords=["r", "g", "b"],
        transformations=_to_um(mpp * raster.width / width, mpp * raster.height / height),
    )
