"""Many methods and seeds on the same footing: running them, the table, differences with intervals, the page."""
