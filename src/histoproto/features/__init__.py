"""Features of a frozen encoder, computed once and kept on disk for all runs, methods and seeds."""
