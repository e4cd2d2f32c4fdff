"""Runs any method: held-out patches, the Lightning module, callbacks, the run folder and its record."""
