"""What the library of spatial omics reads of a slide's results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile

from fakes import ColourNetwork, colour_card
from histoproto.data.images import write_image
from histoproto.inference.segmenter import Segmenter
from histoproto.slides.export import read_areas
from histoproto.slides.options import SlideOptions
from histoproto.slides.segment import segment_slide
from histoproto.slides.task import SlideTask


@pytest.mark.parametrize("tissue", [True, False], ids=["tissue", "none"])
def test_labels_outlines_and_areas_in_um(tissue: bool, tmp_path: Path) -> None:
    spatialdata = pytest.importorskip("spatialdata", reason="pip install 'histoproto[spatialdata]'")
    segmenter = Segmenter(ColourNetwork(), colour_card(64, mpp=0.5), device="cpu")  # type: ignore[arg-type]
    image = np.full((500, 1400, 3), 250, np.uint8)
    if tissue:
        image[100:400, 200:700] = (200, 20, 20)
        image[100:400, 700:900] = (20, 200, 20)
    write_image(tmp_path / "a.png", image)
    (tmp_path / "r.geojson").write_text(shapely.to_geojson(shapely.box(0, 0, 1400, 500)))
    options = SlideOptions(background="glass", tolerance_um=0, spatialdata=True)
    out = tmp_path / "a"
    segment_slide(segmenter, SlideTask(tmp_path / "a.png", 0.25, tmp_path / "r.geojson"), out, options)

    found = spatialdata.read_zarr(out / "spatialdata.zarr")
    written = tifffile.imread(out / "tissue.ome.tif")
    labels = spatialdata.get_pyramid_levels(found["tissue"], n=0).to_numpy()
    assert np.array_equal(labels, np.array([1, 2, 3, 0])[written])
    assert spatialdata.get_pyramid_levels(found["tissue"], n=1).shape == (125, 350)
    for name in ("tissue", "overview"):
        extent = spatialdata.get_extent(found[name])
        assert np.allclose([extent["x"], extent["y"]], [(0, 350), (0, 125)]), name

    table = found["tissue_areas"]
    mm2 = {row.tissue: row.mm2 for row in read_areas(out / "areas.csv") if row.region == "slide"}
    assert table.uns["spatialdata_attrs"]["region"] == "tissue"
    assert dict(zip(table.obs["tissue"], table.X[:, 0], strict=True)) == pytest.approx(
        {name: mm2[name] for name in ("red", "green", "blue")}, abs=1e-6
    )
    assert ("tissue_outlines" in found.shapes) == tissue
    if tissue:
        in_um = spatialdata.transform(found["tissue_outlines"], to_coordinate_system="global")
        drawn = in_um.area.groupby(in_um["tissue"]).sum() / 1e6
        assert dict(drawn) == pytest.approx({"red": mm2["red"], "green": mm2["green"]}, abs=1e-6)
