"""Many slides: finding them, a lock for each, processes, a Ray cluster."""
