"""From a label raster to polygons: connected runs, the sieve for specks, tracing."""
