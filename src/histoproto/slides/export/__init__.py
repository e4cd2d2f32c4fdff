"""What is written about a segmented slide: pure functions of a label raster, one file each."""

from histoproto.slides.export.areas import AreaRow, read_areas, slide_areas, write_areas
from histoproto.slides.export.geojson import write_geojson
from histoproto.slides.export.ome_tiff import write_ome_tiff
from histoproto.slides.export.overview import write_overview
from histoproto.slides.export.probabilities import ProbabilityWriter, read_probabilities
from histoproto.slides.export.summary import Failure, write_summary

__all__ = [
    "AreaRow",
    "Failure",
    "ProbabilityWriter",
    "read_areas",
    "read_probabilities",
    "slide_areas",
    "write_areas",
    "write_geojson",
    "write_ome_tiff",
    "write_overview",
    "write_summary",
]
