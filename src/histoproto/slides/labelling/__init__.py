"""From a slide to a label raster: where tissue is, which windows, their maps blended, a label for each pixel."""
