"""What is written about a segmented slide: pure functions of a label raster, one file each."""

from histoproto.slides.export.geojson import Region, read_geojson, write_geojson

__all__ = ["Region", "read_geojson", "write_geojson"]
